"""The operations for asyncio, one method each, as the engine declares them.

This file is generated: go run ./tools/clients.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import cast

from ._calls import (
    AsyncCalls,
    Command,
    Input,
    OnEvent,
    OnOutput,
    OnProgress,
    _command,
    _handlers,
    _path,
    _unless,
)
from .types import (
    VM,
    BackgroundCommand,
    CommitTaskResult,
    CopyResult,
    DeleteResult,
    DeleteSnapshotResult,
    DiffTaskResult,
    EnvironmentManifest,
    Environments,
    Everything,
    ForkTaskResult,
    ForwardedPort,
    ListCommandsResult,
    ListFilesResult,
    ListForwardsResult,
    ListSnapshotsResult,
    ListTasksResult,
    NetworkInfo,
    PatchTaskResult,
    PruneResult,
    PullResult,
    PushEnvironmentResult,
    ReadCommandResult,
    ReadFileResult,
    ReapResult,
    RemoveEnvironmentResult,
    RollbackTaskResult,
    RunResult,
    Snapshot,
    SyncTaskResult,
    Task,
    TaskCommand,
    TaskLogs,
    WarmResult,
    WriteFileResult,
)


class AsyncOperations(AsyncCalls):
    """What may be asked of pyro."""

    async def list_environments(
        self,
    ) -> Environments:
        """List the environments: the catalog, and what else is installed."""
        return cast(Environments, await self._call(
            "list_environments",
        ))

    async def pull_environment(
        self,
        environment: str,
        *,
        mirror: str | None = None,
        force: bool = False,
        insecure_registries: Iterable[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> PullResult:
        """Fetch, verify, build and install an environment."""
        return cast(PullResult, await self._call(
            "pull_environment",
            _handlers(on_progress=on_progress),
            environment=environment,
            mirror=mirror,
            force=force or None,
            insecure_registries=insecure_registries,
        ))

    async def inspect_environment(
        self,
        environment: str,
    ) -> EnvironmentManifest:
        """Tell what an installed environment is made of."""
        return cast(EnvironmentManifest, await self._call(
            "inspect_environment",
            environment=environment,
        ))

    async def prune_environments(
        self,
        *,
        dry_run: bool = False,
    ) -> PruneResult:
        """Remove cached environments, downloads and templates that nothing uses."""
        return cast(PruneResult, await self._call(
            "prune_environments",
            dry_run=dry_run or None,
        ))

    async def warm_environment(
        self,
        environment: str,
        *,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        network: bool = False,
    ) -> WarmResult:
        """Boot an environment once and keep it frozen, so that VMs of this shape start warm."""
        return cast(WarmResult, await self._call(
            "warm_environment",
            environment=environment,
            vcpu_count=_unless(1, vcpu_count),
            mem_mib=_unless(1024, mem_mib),
            network=_unless(False, network),
        ))

    async def push_environment(
        self,
        environment: str,
        *,
        to: str,
        insecure_registries: Iterable[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> PushEnvironmentResult:
        """Bring an installed environment into a registry, as an image."""
        return cast(PushEnvironmentResult, await self._call(
            "push_environment",
            _handlers(on_progress=on_progress),
            environment=environment,
            to=to,
            insecure_registries=insecure_registries,
        ))

    async def remove_environment(
        self,
        environment: str,
    ) -> RemoveEnvironmentResult:
        """Forget an installed environment; its image goes with the next prune."""
        return cast(RemoveEnvironmentResult, await self._call(
            "remove_environment",
            environment=environment,
        ))

    async def run_in_vm(
        self,
        environment: str,
        *,
        command: Command,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        ttl_seconds: int = 600,
        network: bool = False,
        allow: Iterable[str] | None = None,
        allow_host_compat: bool = False,
        isolation: str | None = None,
        disk_mib: int = 8192,
        metadata: Mapping[str, str] | None = None,
        wait_seconds: int = 60,
        ca_file: str | None = None,
        host_ca: bool | None = None,
        allow_host: Iterable[int] | None = None,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout_seconds: int = 30,
        grace_seconds: int = 5,
        source_path: str | os.PathLike[str] | None = None,
        strict: bool = False,
        exclude: Iterable[str] | None = None,
        include_ignored: bool = False,
        keep_warm: int | None = None,
        outputs: Iterable[str] | None = None,
        entrypoint: str | None = None,
        stdin: Input | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
        on_progress: OnProgress | None = None,
    ) -> RunResult:
        """Run one command in a fresh VM, which is gone afterwards."""
        return cast(RunResult, await self._call(
            "run_in_vm",
            _handlers(on_stdout=on_stdout, on_stderr=on_stderr, on_progress=on_progress),
            environment=environment,
            **_command(command),
            vcpu_count=_unless(1, vcpu_count),
            mem_mib=_unless(1024, mem_mib),
            ttl_seconds=_unless(600, ttl_seconds),
            network=_unless(False, network),
            allow=allow,
            allow_host_compat=_unless(False, allow_host_compat),
            isolation=isolation,
            disk_mib=_unless(8192, disk_mib),
            metadata=metadata,
            wait_seconds=_unless(60, wait_seconds),
            ca_file=ca_file,
            host_ca=host_ca,
            allow_host=allow_host,
            env=env,
            workdir=workdir,
            user=user,
            secrets=secrets,
            timeout_seconds=_unless(30, timeout_seconds),
            grace_seconds=_unless(5, grace_seconds),
            source_path=_path(source_path),
            strict=strict or None,
            exclude=exclude,
            include_ignored=include_ignored or None,
            keep_warm=keep_warm,
            outputs=outputs,
            entrypoint=entrypoint,
            stdin=stdin,
            stream=True if on_stdout or on_stderr else None,
        ))

    async def create_vm(
        self,
        environment: str,
        *,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        ttl_seconds: int = 600,
        network: bool = False,
        allow: Iterable[str] | None = None,
        allow_host_compat: bool = False,
        isolation: str | None = None,
        disk_mib: int = 8192,
        metadata: Mapping[str, str] | None = None,
        wait_seconds: int = 60,
        ca_file: str | None = None,
        host_ca: bool | None = None,
        allow_host: Iterable[int] | None = None,
        on_progress: OnProgress | None = None,
    ) -> VM:
        """Create a VM that is not started yet."""
        return cast(VM, await self._call(
            "create_vm",
            _handlers(on_progress=on_progress),
            environment=environment,
            vcpu_count=_unless(1, vcpu_count),
            mem_mib=_unless(1024, mem_mib),
            ttl_seconds=_unless(600, ttl_seconds),
            network=_unless(False, network),
            allow=allow,
            allow_host_compat=_unless(False, allow_host_compat),
            isolation=isolation,
            disk_mib=_unless(8192, disk_mib),
            metadata=metadata,
            wait_seconds=_unless(60, wait_seconds),
            ca_file=ca_file,
            host_ca=host_ca,
            allow_host=allow_host,
        ))

    async def start_vm(
        self,
        vm_id: str,
    ) -> VM:
        """Start a VM; it is ready for exec_vm when this returns."""
        return cast(VM, await self._call(
            "start_vm",
            vm_id=vm_id,
        ))

    async def exec_vm(
        self,
        vm_id: str,
        *,
        command: Command,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout_seconds: int = 30,
        grace_seconds: int = 5,
        stdin: Input | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
    ) -> RunResult:
        """Run one command in a started VM, which is removed afterwards."""
        return cast(RunResult, await self._call(
            "exec_vm",
            _handlers(on_stdout=on_stdout, on_stderr=on_stderr),
            vm_id=vm_id,
            **_command(command),
            env=env,
            workdir=workdir,
            user=user,
            secrets=secrets,
            timeout_seconds=_unless(30, timeout_seconds),
            grace_seconds=_unless(5, grace_seconds),
            stdin=stdin,
            stream=True if on_stdout or on_stderr else None,
        ))

    async def stop_vm(
        self,
        vm_id: str,
    ) -> VM:
        """Stop a VM. What runs in it ends."""
        return cast(VM, await self._call(
            "stop_vm",
            vm_id=vm_id,
        ))

    async def delete_vm(
        self,
        vm_id: str,
    ) -> DeleteResult:
        """Delete a VM in any state."""
        return cast(DeleteResult, await self._call(
            "delete_vm",
            vm_id=vm_id,
        ))

    async def status_vm(
        self,
        vm_id: str,
    ) -> VM:
        """Give a VM's record."""
        return cast(VM, await self._call(
            "status_vm",
            vm_id=vm_id,
        ))

    async def network_info_vm(
        self,
        vm_id: str,
    ) -> NetworkInfo:
        """Give the state of the network of a VM, or of a task."""
        return cast(NetworkInfo, await self._call(
            "network_info_vm",
            vm_id=vm_id,
        ))

    async def list_vms(
        self,
    ) -> Everything:
        """List all VMs and tasks that there are."""
        return cast(Everything, await self._call(
            "list_vms",
        ))

    async def reap_expired(
        self,
    ) -> ReapResult:
        """Remove the VMs and tasks that are past their TTL."""
        return cast(ReapResult, await self._call(
            "reap_expired",
        ))

    async def create_task(
        self,
        environment: str,
        *,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        ttl_seconds: int = 600,
        network: bool = False,
        allow: Iterable[str] | None = None,
        allow_host_compat: bool = False,
        isolation: str | None = None,
        disk_mib: int = 8192,
        metadata: Mapping[str, str] | None = None,
        wait_seconds: int = 60,
        ca_file: str | None = None,
        host_ca: bool | None = None,
        allow_host: Iterable[int] | None = None,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        source_path: str | os.PathLike[str] | None = None,
        strict: bool = False,
        exclude: Iterable[str] | None = None,
        include_ignored: bool = False,
        publish: Iterable[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Task:
        """Create and start a task, its workspace seeded from a directory or a tar archive."""
        return cast(Task, await self._call(
            "create_task",
            _handlers(on_progress=on_progress),
            environment=environment,
            vcpu_count=_unless(1, vcpu_count),
            mem_mib=_unless(1024, mem_mib),
            ttl_seconds=_unless(600, ttl_seconds),
            network=_unless(False, network),
            allow=allow,
            allow_host_compat=_unless(False, allow_host_compat),
            isolation=isolation,
            disk_mib=_unless(8192, disk_mib),
            metadata=metadata,
            wait_seconds=_unless(60, wait_seconds),
            ca_file=ca_file,
            host_ca=host_ca,
            allow_host=allow_host,
            name=name,
            env=env,
            workdir=workdir,
            user=user,
            source_path=_path(source_path),
            strict=strict or None,
            exclude=exclude,
            include_ignored=include_ignored or None,
            publish=publish,
        ))

    async def exec_task(
        self,
        task_id: str,
        *,
        command: Command,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout_seconds: int = 30,
        grace_seconds: int = 5,
        stdin: Input | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
    ) -> TaskCommand:
        """Run one command in a task, in /workspace; the task lives on."""
        return cast(TaskCommand, await self._call(
            "exec_task",
            _handlers(on_stdout=on_stdout, on_stderr=on_stderr),
            task_id=task_id,
            **_command(command),
            env=env,
            workdir=workdir,
            user=user,
            secrets=secrets,
            timeout_seconds=_unless(30, timeout_seconds),
            grace_seconds=_unless(5, grace_seconds),
            stdin=stdin,
            stream=True if on_stdout or on_stderr else None,
        ))

    async def status_task(
        self,
        task_id: str,
    ) -> Task:
        """Give a task's record."""
        return cast(Task, await self._call(
            "status_task",
            task_id=task_id,
        ))

    async def list_tasks(
        self,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> ListTasksResult:
        """List the tasks, oldest first: state, age, what runs in each."""
        return cast(ListTasksResult, await self._call(
            "list_tasks",
            labels=labels,
        ))

    async def logs_task(
        self,
        task_id: str,
        *,
        sequence: int | None = None,
        offset_bytes: int | None = None,
        max_bytes: int | None = None,
        on_event: OnEvent | None = None,
    ) -> TaskLogs:
        """Give a task's history."""
        return cast(TaskLogs, await self._call(
            "logs_task",
            _handlers(on_event=on_event),
            task_id=task_id,
            sequence=sequence,
            offset_bytes=offset_bytes,
            max_bytes=max_bytes,
            follow=True if on_event else None,
        ))

    async def extend_task(
        self,
        task_id: str,
        *,
        ttl_seconds: int | None = None,
    ) -> Task:
        """Begin a task's idle TTL anew, with another length if one is given."""
        return cast(Task, await self._call(
            "extend_task",
            task_id=task_id,
            ttl_seconds=ttl_seconds,
        ))

    async def stop_task(
        self,
        task_id: str,
    ) -> Task:
        """End a task's guest and keep its files; the next command starts it again."""
        return cast(Task, await self._call(
            "stop_task",
            task_id=task_id,
        ))

    async def start_task(
        self,
        task_id: str,
    ) -> Task:
        """Start a stopped task."""
        return cast(Task, await self._call(
            "start_task",
            task_id=task_id,
        ))

    async def delete_task(
        self,
        task_id: str,
    ) -> DeleteResult:
        """End a task and remove all that it kept."""
        return cast(DeleteResult, await self._call(
            "delete_task",
            task_id=task_id,
        ))

    async def start_command(
        self,
        task_id: str,
        *,
        command: Command,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        secrets: Mapping[str, str] | None = None,
        name: str | None = None,
        limit_seconds: int | None = None,
        input: bool = False,
    ) -> BackgroundCommand:
        """Start a command in the background of a task; it goes on when the caller goes."""
        return cast(BackgroundCommand, await self._call(
            "start_command",
            task_id=task_id,
            **_command(command),
            env=env,
            workdir=workdir,
            user=user,
            secrets=secrets,
            name=name,
            limit_seconds=limit_seconds,
            input=input or None,
        ))

    async def open_shell(
        self,
        task_id: str,
        *,
        command: str | None = None,
        name: str | None = None,
        rows: int | None = None,
        cols: int | None = None,
        type: str | None = None,
    ) -> BackgroundCommand:
        """Start a program on a terminal of a task; it goes on when the caller goes."""
        return cast(BackgroundCommand, await self._call(
            "open_shell",
            task_id=task_id,
            command=command,
            name=name,
            rows=rows,
            cols=cols,
            type=type,
        ))

    async def start_service(
        self,
        task_id: str,
        *,
        name: str,
        command: Command,
        secrets: Mapping[str, str] | None = None,
        ready_http: str | None = None,
        ready_tcp: int | None = None,
        ready_file: str | None = None,
        ready_log: str | None = None,
        ready_command: str | None = None,
        ready_seconds: int | None = None,
        restart: bool = False,
        max_restarts: int | None = None,
        resume: bool = False,
    ) -> BackgroundCommand:
        """Start a service in a task, and wait until it is ready."""
        return cast(BackgroundCommand, await self._call(
            "start_service",
            task_id=task_id,
            name=name,
            **_command(command),
            secrets=secrets,
            ready_http=ready_http,
            ready_tcp=ready_tcp,
            ready_file=ready_file,
            ready_log=ready_log,
            ready_command=ready_command,
            ready_seconds=ready_seconds,
            restart=restart or None,
            max_restarts=max_restarts,
            resume=resume or None,
        ))

    async def list_commands(
        self,
        task_id: str,
    ) -> ListCommandsResult:
        """List a task's background commands, shells and services."""
        return cast(ListCommandsResult, await self._call(
            "list_commands",
            task_id=task_id,
        ))

    async def status_command(
        self,
        task_id: str,
        *,
        command_id: str,
    ) -> BackgroundCommand:
        """Give the record of a background command."""
        return cast(BackgroundCommand, await self._call(
            "status_command",
            task_id=task_id,
            command_id=command_id,
        ))

    async def wait_command(
        self,
        task_id: str,
        *,
        command_id: str,
        limit_seconds: int | None = None,
    ) -> BackgroundCommand:
        """Wait for the end of a background command."""
        return cast(BackgroundCommand, await self._call(
            "wait_command",
            task_id=task_id,
            command_id=command_id,
            limit_seconds=limit_seconds,
        ))

    async def read_command(
        self,
        task_id: str,
        *,
        command_id: str,
        cursor: int | None = None,
        max_bytes: int | None = None,
        wait_ms: int | None = None,
        idle_ms: int | None = None,
        plain: bool = False,
    ) -> ReadCommandResult:
        """Read a background command's output from a cursor on."""
        return cast(ReadCommandResult, await self._call(
            "read_command",
            task_id=task_id,
            command_id=command_id,
            cursor=cursor,
            max_bytes=max_bytes,
            wait_ms=wait_ms,
            idle_ms=idle_ms,
            plain=plain or None,
        ))

    async def attach_command(
        self,
        task_id: str,
        *,
        command_id: str,
        cursor: int | None = None,
        stdin: Input | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
    ) -> BackgroundCommand:
        """Pass a background command's output on as it comes, and input to it."""
        return cast(BackgroundCommand, await self._call(
            "attach_command",
            _handlers(on_stdout=on_stdout, on_stderr=on_stderr),
            task_id=task_id,
            command_id=command_id,
            cursor=cursor,
            stdin=stdin,
            stream=True if on_stdout or on_stderr else None,
        ))

    async def write_command(
        self,
        task_id: str,
        *,
        command_id: str,
        input: str,
        end: bool = False,
        limit_seconds: int | None = None,
    ) -> BackgroundCommand:
        """Send input to a background command."""
        return cast(BackgroundCommand, await self._call(
            "write_command",
            task_id=task_id,
            command_id=command_id,
            input=input,
            end=end or None,
            limit_seconds=limit_seconds,
        ))

    async def signal_command(
        self,
        task_id: str,
        *,
        command_id: str,
        signal: str,
    ) -> BackgroundCommand:
        """Send a signal to a background command."""
        return cast(BackgroundCommand, await self._call(
            "signal_command",
            task_id=task_id,
            command_id=command_id,
            signal=signal,
        ))

    async def resize_command(
        self,
        task_id: str,
        *,
        command_id: str,
        rows: int | None = None,
        cols: int | None = None,
    ) -> BackgroundCommand:
        """Tell the terminal of a background command its size."""
        return cast(BackgroundCommand, await self._call(
            "resize_command",
            task_id=task_id,
            command_id=command_id,
            rows=rows,
            cols=cols,
        ))

    async def stop_command(
        self,
        task_id: str,
        *,
        command_id: str,
        grace_seconds: int = 5,
    ) -> BackgroundCommand:
        """End a background command, shell or service."""
        return cast(BackgroundCommand, await self._call(
            "stop_command",
            task_id=task_id,
            command_id=command_id,
            grace_seconds=_unless(5, grace_seconds),
        ))

    async def forward_port(
        self,
        task_id: str,
        *,
        guest_port: int,
        host_ip: str | None = None,
        host_port: int | None = None,
        udp: bool = False,
    ) -> ForwardedPort:
        """Open a port of the host that leads to a server in a task."""
        return cast(ForwardedPort, await self._call(
            "forward_port",
            task_id=task_id,
            guest_port=guest_port,
            host_ip=host_ip,
            host_port=host_port,
            udp=udp or None,
        ))

    async def list_forwards(
        self,
        task_id: str,
    ) -> ListForwardsResult:
        """List the ports of the host that lead into a task."""
        return cast(ListForwardsResult, await self._call(
            "list_forwards",
            task_id=task_id,
        ))

    async def unforward_port(
        self,
        task_id: str,
        *,
        host_port: int,
        host_ip: str | None = None,
        udp: bool = False,
    ) -> ForwardedPort:
        """Close a port of the host that leads into a task."""
        return cast(ForwardedPort, await self._call(
            "unforward_port",
            task_id=task_id,
            host_port=host_port,
            host_ip=host_ip,
            udp=udp or None,
        ))

    async def read_file(
        self,
        task_id: str,
        *,
        path: str,
        offset_bytes: int | None = None,
        max_bytes: int | None = None,
    ) -> ReadFileResult:
        """Read a part of a file of a task."""
        return cast(ReadFileResult, await self._call(
            "read_file",
            task_id=task_id,
            path=path,
            offset_bytes=offset_bytes,
            max_bytes=max_bytes,
        ))

    async def write_file(
        self,
        task_id: str,
        *,
        path: str,
        content: str | None = None,
        content_base64: str | None = None,
        mode: str | None = None,
    ) -> WriteFileResult:
        """Make or replace a file of a task, whole or not at all."""
        return cast(WriteFileResult, await self._call(
            "write_file",
            task_id=task_id,
            path=path,
            content=content,
            content_base64=content_base64,
            mode=mode,
        ))

    async def list_files(
        self,
        task_id: str,
        *,
        path: str | None = None,
        recursive: bool = False,
        max_entries: int = 1000,
    ) -> ListFilesResult:
        """List what is in a directory of a task."""
        return cast(ListFilesResult, await self._call(
            "list_files",
            task_id=task_id,
            path=path,
            recursive=recursive or None,
            max_entries=_unless(1000, max_entries),
        ))

    async def upload(
        self,
        task_id: str,
        *,
        host_path: str | os.PathLike[str],
        path: str,
        on_progress: OnProgress | None = None,
    ) -> CopyResult:
        """Copy a file or a directory of the host into a task."""
        return cast(CopyResult, await self._call(
            "upload",
            _handlers(on_progress=on_progress),
            task_id=task_id,
            host_path=_path(host_path),
            path=path,
        ))

    async def download(
        self,
        task_id: str,
        *,
        path: str,
        host_path: str | os.PathLike[str],
        on_progress: OnProgress | None = None,
    ) -> CopyResult:
        """Copy a file or a directory of a task to the host."""
        return cast(CopyResult, await self._call(
            "download",
            _handlers(on_progress=on_progress),
            task_id=task_id,
            path=path,
            host_path=_path(host_path),
        ))

    async def export_task(
        self,
        task_id: str,
        *,
        host_path: str | os.PathLike[str],
    ) -> CopyResult:
        """Copy all that a task changed over its environment to the host."""
        return cast(CopyResult, await self._call(
            "export_task",
            task_id=task_id,
            host_path=_path(host_path),
        ))

    async def diff_task(
        self,
        task_id: str,
        *,
        patch: bool = False,
        exclude: Iterable[str] | None = None,
        include_ignored: bool = False,
    ) -> DiffTaskResult:
        """Tell what a task changed in its workspace since it was seeded: names, or a patch."""
        return cast(DiffTaskResult, await self._call(
            "diff_task",
            task_id=task_id,
            patch=patch or None,
            exclude=exclude,
            include_ignored=include_ignored or None,
        ))

    async def sync_task(
        self,
        task_id: str,
        *,
        force: bool = False,
        on_progress: OnProgress | None = None,
    ) -> SyncTaskResult:
        """Send into a task what changed since in the directory that it was seeded from."""
        return cast(SyncTaskResult, await self._call(
            "sync_task",
            _handlers(on_progress=on_progress),
            task_id=task_id,
            force=force or None,
        ))

    async def patch_task(
        self,
        task_id: str,
        *,
        patch: str,
        path: str | None = None,
    ) -> PatchTaskResult:
        """Apply a unified diff to files of a task, all of it or nothing."""
        return cast(PatchTaskResult, await self._call(
            "patch_task",
            task_id=task_id,
            patch=patch,
            path=path,
        ))

    async def snapshot_task(
        self,
        task_id: str,
        *,
        name: str | None = None,
    ) -> Snapshot:
        """Keep a task as it is at one moment: processes, memory and disk; it goes on."""
        return cast(Snapshot, await self._call(
            "snapshot_task",
            task_id=task_id,
            name=name,
        ))

    async def fork_task(
        self,
        *,
        task_id: str | None = None,
        snapshot: str | None = None,
        count: int = 1,
        ttl_seconds: int = 600,
        metadata: Mapping[str, str] | None = None,
    ) -> ForkTaskResult:
        """Make tasks that go on from where another is, or from a snapshot."""
        return cast(ForkTaskResult, await self._call(
            "fork_task",
            task_id=task_id,
            snapshot=snapshot,
            count=_unless(1, count),
            ttl_seconds=_unless(600, ttl_seconds),
            metadata=metadata,
        ))

    async def rollback_task(
        self,
        task_id: str,
        *,
        snapshot: str | None = None,
    ) -> RollbackTaskResult:
        """Have a task go on from a snapshot; what it did since is lost."""
        return cast(RollbackTaskResult, await self._call(
            "rollback_task",
            task_id=task_id,
            snapshot=snapshot,
        ))

    async def pause_task(
        self,
        task_id: str,
    ) -> Task:
        """Keep a task on disk, with its memory, until it is resumed; it takes no memory of the host."""
        return cast(Task, await self._call(
            "pause_task",
            task_id=task_id,
        ))

    async def commit_task(
        self,
        task_id: str,
        *,
        environment: str,
    ) -> CommitTaskResult:
        """Make an installed environment of a task's disk."""
        return cast(CommitTaskResult, await self._call(
            "commit_task",
            task_id=task_id,
            environment=environment,
        ))

    async def resume_task(
        self,
        task_id: str,
    ) -> Task:
        """Have a paused task go on, and a stopped one start."""
        return cast(Task, await self._call(
            "resume_task",
            task_id=task_id,
        ))

    async def list_snapshots(
        self,
    ) -> ListSnapshotsResult:
        """List the snapshots of tasks, with what they take on disk."""
        return cast(ListSnapshotsResult, await self._call(
            "list_snapshots",
        ))

    async def inspect_snapshot(
        self,
        snapshot: str,
    ) -> Snapshot:
        """Tell what a snapshot is of, and what it takes."""
        return cast(Snapshot, await self._call(
            "inspect_snapshot",
            snapshot=snapshot,
        ))

    async def delete_snapshot(
        self,
        snapshot: str,
    ) -> DeleteSnapshotResult:
        """Remove a snapshot; tasks that were made from it go on."""
        return cast(DeleteSnapshotResult, await self._call(
            "delete_snapshot",
            snapshot=snapshot,
        ))
