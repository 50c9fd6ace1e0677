"""The client: each method is a request over the bridge."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import IO, Any, Union, cast

from ._binary import find_binary
from ._bridge import INPUT_PIECE, Bridge, Feed, Handlers, decode, encode
from ._server import Profile, Server, create_server
from .types import (
    VM,
    DeleteResult,
    EnvironmentManifest,
    Environments,
    Everything,
    LogEntry,
    NetworkInfo,
    PruneResult,
    PullProgress,
    PullResult,
    ReapResult,
    RunResult,
    Task,
    TaskCommand,
    TaskLogs,
    WarmResult,
)

OnOutput = Callable[[bytes], object]
Input = Union[str, bytes, IO[bytes]]
OnProgress = Callable[[PullProgress], object]


class Pyro:
    """Runs commands in microVMs. Safe from several threads; close it, or use it in a with statement.

    All arguments are optional: binary names the pyro executable, cache_dir and state_dir move what pyro keeps,
    accelerator is auto, kvm or tcg, max_active_vms bounds the VMs and tasks that live at once, mirror is the Debian
    mirror that environments are built from.
    """

    def __init__(
        self,
        *,
        binary: str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        state_dir: str | os.PathLike[str] | None = None,
        accelerator: str | None = None,
        max_active_vms: int | None = None,
        mirror: str | None = None,
    ) -> None:
        self._binary = binary
        self._environment = {
            name: os.fspath(value) if not isinstance(value, int) else str(value)
            for name, value in (
                ("PYRO_CACHE_DIR", cache_dir), ("PYRO_STATE_DIR", state_dir), ("PYRO_ACCELERATOR", accelerator),
                ("PYRO_MAX_ACTIVE_VMS", max_active_vms), ("PYRO_DEBIAN_MIRROR", mirror),
            )
            if value is not None
        }
        self._bridge = Bridge(lambda: find_binary(binary), self._environment)

    def close(self) -> None:
        """End the calls under way. VMs and tasks live on."""
        self._bridge.close()

    def __enter__(self) -> Pyro:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def create_server(self, *, profile: Profile = "full") -> Server:
        """Make an MCP server with the options of this Pyro. Start it with run()."""
        return create_server(profile=profile, binary=self._binary, environment=self._environment)

    # Environments

    def list_environments(self) -> Environments:
        """List the environments: the catalog, and what else is installed."""
        return cast(Environments, self._call("list_environments"))

    def pull_environment(
        self, environment: str, *, mirror: str | None = None, force: bool = False,
        insecure_registries: Iterable[str] | None = None, on_progress: OnProgress | None = None
    ) -> PullResult:
        """Fetch, verify, build and install an environment."""
        return cast(PullResult, self._call(
            "pull_environment", _handlers(on_progress=on_progress), environment=environment, mirror=mirror, force=force or None,
            insecure_registries=None if insecure_registries is None else list(insecure_registries),
        ))

    def inspect_environment(self, environment: str) -> EnvironmentManifest:
        """Tell what an installed environment is made of."""
        return cast(EnvironmentManifest, self._call("inspect_environment", environment=environment))

    def prune_environments(self) -> PruneResult:
        """Remove cached environments, downloads and templates that nothing uses."""
        return cast(PruneResult, self._call("prune_environments"))

    def warm_environment(
        self, environment: str, *, vcpu_count: int = 1, mem_mib: int = 1024, network: bool = False
    ) -> WarmResult:
        """Boot an environment once and keep it frozen, so that VMs of this shape start warm."""
        return cast(WarmResult, self._call(
            "warm_environment", environment=environment, vcpu_count=vcpu_count, mem_mib=mem_mib, network=network,
        ))

    # VMs

    def create_vm(
        self,
        environment: str,
        *,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        ttl_seconds: int = 600,
        network: bool = False,
        allow_host_compat: bool = False,
        allow: Iterable[str] | None = None,
        disk_mib: int | None = None,
        metadata: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> VM:
        """Create a VM that is not started yet."""
        return cast(VM, self._call("create_vm", _handlers(on_progress=on_progress), **_shape(
            environment, vcpu_count, mem_mib, ttl_seconds, network, allow_host_compat, allow, disk_mib, metadata)))

    def start_vm(self, vm_id: str) -> VM:
        """Start a VM; it is ready for exec_vm when this returns."""
        return cast(VM, self._call("start_vm", vm_id=vm_id))

    def exec_vm(
        self,
        vm_id: str,
        *,
        command: str,
        timeout_seconds: int = 30,
        stdin: Input | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
    ) -> RunResult:
        """Run one command in a started VM, which is removed afterwards."""
        return cast(RunResult, self._call(
            "exec_vm", _handlers(on_stdout, on_stderr), vm_id=vm_id, **_command(command, timeout_seconds, stdin, on_stdout, on_stderr),
        ))

    def stop_vm(self, vm_id: str) -> VM:
        """Stop a VM."""
        return cast(VM, self._call("stop_vm", vm_id=vm_id))

    def delete_vm(self, vm_id: str) -> DeleteResult:
        """Delete a VM in any state."""
        return cast(DeleteResult, self._call("delete_vm", vm_id=vm_id))

    def status_vm(self, vm_id: str) -> VM:
        """Give a VM's record."""
        return cast(VM, self._call("status_vm", vm_id=vm_id))

    def network_info_vm(self, vm_id: str) -> NetworkInfo:
        """Give the state of the network of a VM, or of a task."""
        return cast(NetworkInfo, self._call("network_info_vm", vm_id=vm_id))

    def reap_expired(self) -> ReapResult:
        """Remove the VMs and tasks that are past their TTL."""
        return cast(ReapResult, self._call("reap_expired"))

    def list_vms(self) -> Everything:
        """List all VMs and tasks that there are."""
        return cast(Everything, self._call("list_vms"))

    def run_in_vm(
        self,
        environment: str,
        *,
        command: str,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        timeout_seconds: int = 30,
        ttl_seconds: int = 600,
        network: bool = False,
        allow_host_compat: bool = False,
        allow: Iterable[str] | None = None,
        disk_mib: int | None = None,
        metadata: Mapping[str, str] | None = None,
        stdin: Input | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
        on_progress: OnProgress | None = None,
    ) -> RunResult:
        """Run one command in a fresh VM, which is gone afterwards."""
        shape = _shape(environment, vcpu_count, mem_mib, ttl_seconds, network, allow_host_compat, allow, disk_mib, metadata)
        return cast(RunResult, self._call(
            "run_in_vm", _handlers(on_stdout, on_stderr, on_progress), **shape,
            **_command(command, timeout_seconds, stdin, on_stdout, on_stderr),
        ))

    # Tasks

    def create_task(
        self,
        environment: str,
        *,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        ttl_seconds: int = 600,
        network: bool = False,
        allow_host_compat: bool = False,
        source_path: str | os.PathLike[str] | None = None,
        allow: Iterable[str] | None = None,
        publish: Iterable[str] | None = None,
        disk_mib: int | None = None,
        metadata: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Task:
        """Create and start a task, its workspace seeded from a directory or a tar archive."""
        shape = _shape(environment, vcpu_count, mem_mib, ttl_seconds, network, allow_host_compat, allow, disk_mib, metadata)
        return cast(Task, self._call(
            "create_task", _handlers(on_progress=on_progress), **shape,
            source_path=os.path.abspath(source_path) if source_path is not None else None,
            publish=list(publish) if publish is not None else None,
        ))

    def exec_task(
        self,
        task_id: str,
        *,
        command: str,
        timeout_seconds: int = 30,
        stdin: Input | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
    ) -> TaskCommand:
        """Run one command in a task, in /workspace; the task lives on."""
        return cast(TaskCommand, self._call(
            "exec_task", _handlers(on_stdout, on_stderr), task_id=task_id, **_command(command, timeout_seconds, stdin, on_stdout, on_stderr),
        ))

    def status_task(self, task_id: str) -> Task:
        """Give a task's record."""
        return cast(Task, self._call("status_task", task_id=task_id))

    def logs_task(self, task_id: str, *, on_event: Callable[[str, LogEntry, bytes], object] | None = None) -> TaskLogs:
        """Give a task's history. With on_event go on until the task stops: it gets kind, entry and data of what happens."""
        handlers: Handlers = {}
        if on_event is not None:
            handlers = {"log": lambda m: on_event(m["kind"], m["entry"], decode(m.get("data")))}
        return cast(TaskLogs, self._call("logs_task", handlers, task_id=task_id, follow=True if on_event else None))

    def delete_task(self, task_id: str) -> DeleteResult:
        """End a task and remove all that it kept."""
        return cast(DeleteResult, self._call("delete_task", task_id=task_id))

    def _call(self, method: str, handlers: Handlers | None = None, /, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        return self._bridge.call(method, given, handlers, _feed(given))


def _feed(given: dict[str, Any]) -> Feed | None:
    """Take a command's input out of its arguments: what is longer than a piece goes beside them."""
    stdin = given.pop("stdin", None)
    if isinstance(stdin, str):
        stdin = stdin.encode()
    if isinstance(stdin, bytes) and len(stdin) <= INPUT_PIECE:
        if stdin:
            given["stdin"] = encode(stdin)
        return None
    return None if stdin is None else Feed(stdin)


def _shape(
    environment: str, vcpu_count: int, mem_mib: int, ttl_seconds: int, network: bool, allow_host_compat: bool,
    allow: Iterable[str] | None, disk_mib: int | None, metadata: Mapping[str, str] | None,
) -> dict[str, Any]:
    return {
        "environment": environment, "vcpu_count": vcpu_count, "mem_mib": mem_mib, "ttl_seconds": ttl_seconds,
        "network": network, "allow_host_compat": allow_host_compat,
        "allow": list(allow) if allow is not None else None, "disk_mib": disk_mib,
        "metadata": dict(metadata) if metadata is not None else None,
    }


def _command(
    command: str, timeout_seconds: int, stdin: Input | None, on_stdout: OnOutput | None, on_stderr: OnOutput | None
) -> dict[str, Any]:
    return {
        "command": command, "timeout_seconds": timeout_seconds, "stdin": stdin,
        "stream": True if on_stdout or on_stderr else None,
    }


def _handlers(
    on_stdout: OnOutput | None = None, on_stderr: OnOutput | None = None, on_progress: OnProgress | None = None
) -> Handlers:
    """What to do with the notifications of one call."""
    outputs = {"stdout": on_stdout, "stderr": on_stderr}

    def output(message: dict[str, Any]) -> None:
        if callback := outputs.get(message["stream"]):
            callback(decode(message.get("data")))

    def progress(message: dict[str, Any]) -> None:
        if on_progress is not None:
            on_progress(cast(PullProgress, {k: v for k, v in message.items() if k != "id"}))

    return {"output": output, "progress": progress}
