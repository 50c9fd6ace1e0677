"""The results of the calls, as typed dictionaries. Moments are texts in RFC 3339, byte strings are in base64.

This file is generated from the engine's own types: go run ./tools/clients.
"""

from __future__ import annotations

import sys
from typing import Literal, TypedDict

if sys.version_info >= (3, 11):
    from typing import NotRequired
else:
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        from typing_extensions import NotRequired
    else:

        class NotRequired:
            """Stands in for typing.NotRequired, which Python 3.10 lacks: at run time it says nothing."""

            def __class_getitem__(cls, item):
                return item


ExecutionMode = Literal["guest", "host_compat"]
Accelerator = Literal["kvm", "tcg"]
Isolation = Literal["vm", "gvisor", "none"]
SeedMode = Literal["empty", "directory", "tar_archive"]
State = Literal["created", "started", "stopped", "paused"]


class PullProgress(TypedDict):
    """A moment of a pull. Totals are 0 while unknown. Packages are layers if the environment is an image."""

    phase: str
    detail: NotRequired[str]
    bytes_done: int
    bytes_total: int
    packages_done: int
    packages_total: int


class EnvironmentListing(TypedDict):
    """One row of the catalog."""

    name: str
    version: str
    description: str
    installed: bool
    problem: NotRequired[str]


class Environments(TypedDict):
    """The catalog, and what else is installed."""

    environments: list[EnvironmentListing]


class PullPhase(TypedDict):
    """One phase of a finished pull."""

    name: str
    duration_ms: int


class EnvironmentPackage(TypedDict):
    """One package of an environment."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int


class EnvironmentLayer(TypedDict):
    """One layer of the image that an environment was made of."""

    media_type: str
    sha256: str
    size: int


class EnvironmentConfig(TypedDict):
    """What an image says about how to run commands in it."""

    env: NotRequired[list[str]]
    user: NotRequired[str]
    work_dir: NotRequired[str]
    entrypoint: NotRequired[list[str]]
    cmd: NotRequired[list[str]]


class EnvironmentManifest(TypedDict):
    """What an installed environment is made of. Sizes are in bytes."""

    name: str
    version: str
    description: str
    source: str
    origin: str
    architecture: str
    created_at: str
    image_path: str
    image_sha256: str
    image_bytes: int
    kernel_version: str
    kernel_path: str
    kernel_sha256: str
    downloaded_bytes: int
    disk_bytes: int
    packages: list[EnvironmentPackage]
    layers: NotRequired[list[EnvironmentLayer]]
    config: NotRequired[EnvironmentConfig]


class PullResult(TypedDict):
    """The installed environment. Changed is false if it was already current and sound. PreviousOrigin is the
    origin of the one that was installed before, if any: if a tag moved, it differs from the new one's."""

    changed: bool
    repaired: NotRequired[bool]
    previous_origin: NotRequired[str]
    phases: list[PullPhase]
    environment: EnvironmentManifest


class PruneResult(TypedDict):
    """What a prune removed, or would remove."""

    removed: list[str]
    freed_bytes: int
    dry_run: NotRequired[bool]


class WarmResult(TypedDict):
    """The template made."""

    environment: str
    template: str
    bytes: int
    duration_ms: int


class PushEnvironmentResult(TypedDict):
    """The image in the registry."""

    environment: str
    reference: str
    digest: str
    bytes: int
    duration_ms: int


class RemoveEnvironmentResult(TypedDict):
    """What was removed."""

    environment: str
    removed: bool


class Output(TypedDict):
    """How a command ended, and what it wrote. Stdout and Stderr hold at most OutputLimit bytes each: the
    beginning and the end, with a mark between them that counts what is left out."""

    exit_code: int
    stdout: str
    stderr: str
    stdout_truncated: NotRequired[bool]
    stderr_truncated: NotRequired[bool]
    timed_out: NotRequired[bool]
    duration_ms: int
    execution_mode: ExecutionMode
    stdout_base64: NotRequired[str]
    stderr_base64: NotRequired[str]
    shell: NotRequired[str]
    notice: NotRequired[str]
    cause: NotRequired[str]


class WorkspaceSeed(TypedDict):
    """What /workspace was filled with. Mode is empty, directory or tar_archive."""

    mode: SeedMode
    source_path: str | None
    destination: str
    entry_count: int
    bytes_written: int
    left_out: NotRequired[list[str]]
    left_out_count: NotRequired[int]
    ignored: NotRequired[list[str]]
    ignored_count: NotRequired[int]


class CopyResult(TypedDict):
    """What was copied."""

    task_id: NotRequired[str]
    path: str
    entry_count: int
    bytes_written: int
    left_out: NotRequired[list[str]]
    left_out_count: NotRequired[int]


class RunResult(Output):
    """The command's end. The VM is gone."""

    vm_id: str
    environment: str
    command: str
    vcpu_count: int
    mem_mib: int
    accelerator: Accelerator
    isolation: Isolation
    warm: bool
    vmm_confinement: str
    confinement: NotRequired[str]
    warnings: list[str]
    workspace_seed: NotRequired[WorkspaceSeed]
    outputs: NotRequired[list[CopyResult]]


class VM(TypedDict):
    """A VM's record. State is created, started or stopped."""

    vm_id: str
    environment: str
    state: State
    vcpu_count: int
    mem_mib: int
    ttl_seconds: int
    created_at: str
    expires_at: str | None
    network_enabled: bool
    allow_host_compat: bool
    execution_mode: ExecutionMode
    last_error: str | None
    metadata: dict[str, str]
    accelerator: Accelerator
    isolation: Isolation
    confinement: NotRequired[str]
    warm: bool
    vmm_confinement: str
    warnings: list[str]


class DeleteResult(TypedDict):
    """What a deletion did."""

    deleted: bool


class NetworkPolicy(TypedDict):
    """How far the guest reaches. Mode is public or allow-list."""

    mode: SeedMode
    allow: list[str]


class NetworkCounters(TypedDict):
    """NetworkCounters count since the guest's start."""

    bytes_in: int
    bytes_out: int
    connections_allowed: int
    connections_refused: int
    connections_failed: int
    dns_answered: int
    dns_refused: int
    frames_dropped: int


class PublishedPort(TypedDict):
    """A guest port opened on the host."""

    host_ip: str
    host_port: int
    guest_port: int


class NetworkDecision(TypedDict):
    """Something that the guest tried, and what became of it."""

    time: str
    allowed: bool
    protocol: str
    destination: str
    name: NotRequired[str]
    reason: str
    skipped: NotRequired[int]


class NetworkDetails(TypedDict):
    """What NetworkInfo says of a network that is there."""

    guest_address: NotRequired[str]
    gateway: NotRequired[str]
    dns: NotRequired[str]
    mac: NotRequired[str]
    policy: NotRequired[NetworkPolicy]
    counters: NetworkCounters
    published: NotRequired[list[PublishedPort]]
    decisions: NotRequired[list[NetworkDecision]]


class NetworkInfo(NetworkDetails):
    """The state of a guest's network. Fields beyond Enabled are empty without one."""

    vm_id: str
    enabled: bool


class RunningCommand(TypedDict):
    """A command of a task that has not ended."""

    sequence: int
    command: str
    started_at: str


class LastCommand(TypedDict):
    """The newest command of a task."""

    command: str
    exit_code: int


class Task(TypedDict):
    """A task's record."""

    task_id: str
    name: str
    environment: str
    state: State
    workspace_path: str
    vcpu_count: int
    mem_mib: int
    ttl_seconds: int
    created_at: str
    expires_at: str | None
    network_enabled: bool
    allow_host_compat: bool
    execution_mode: ExecutionMode
    command_count: int
    running: NotRequired[list[RunningCommand]]
    last_command: LastCommand | None
    workspace_seed: WorkspaceSeed
    last_error: str | None
    metadata: dict[str, str]
    accelerator: Accelerator
    isolation: Isolation
    confinement: NotRequired[str]
    warm: bool
    vmm_confinement: str
    warnings: list[str]
    forked_from: NotRequired[str]


class Everything(TypedDict):
    """All that lives or is kept in the state directory."""

    vms: list[VM]
    spares: list[VM]
    tasks: list[Task]


class ReapResult(TypedDict):
    """What was reaped: VMs and tasks past their TTL, and what dead supervisors left."""

    count: int
    reaped: list[str]


class TaskCommand(Output):
    """The command's end, as the task's history keeps it."""

    task_id: str
    sequence: int
    cwd: str
    command: str


class ListTasksResult(TypedDict):
    """The tasks that live or are kept, oldest first."""

    tasks: list[Task]


class LogEntry(Output):
    """One command of a task's history. Interrupted says that the guest, or the caller, went before the command
    had ended; Cause says which."""

    sequence: int
    cwd: str
    command: str
    started_at: str
    running: NotRequired[bool]
    interrupted: NotRequired[bool]


class TaskLogs(TypedDict):
    """A task's history, oldest first."""

    task_id: str
    count: int
    entries: list[LogEntry]


class BackgroundCommand(TypedDict):
    """The record of a background command. Kind is command, shell or service. State is running, exited, stopped
    (it was asked to end) or interrupted (its guest ended), and of a service also starting, ready, backoff (it
    is about to be started again) and failed."""

    task_id: str
    command_id: str
    kind: str
    state: State
    sequence: int
    command: str
    terminal: bool
    started_at: str
    ended_at: str | None
    exit_code: int | None
    timed_out: NotRequired[bool]
    restarts: NotRequired[int]
    notice: NotRequired[str]
    cause: NotRequired[str]


class ListCommandsResult(TypedDict):
    """A task's background commands, oldest first."""

    task_id: str
    commands: list[BackgroundCommand]


class ReadCommandResult(BackgroundCommand):
    """A piece of a background command's output: stdout and stderr in the order in which they came. A character
    is never cut in two."""

    output: str
    cursor: int
    lost_bytes: NotRequired[int]


class ForwardedPort(TypedDict):
    """A port of the host that leads to one in a task."""

    task_id: str
    host_ip: str
    host_port: int
    guest_port: int
    udp: bool
    stays: bool
    connections: int


class ListForwardsResult(TypedDict):
    """A task's forwarded ports."""

    task_id: str
    forwards: list[ForwardedPort]


class FileInfo(TypedDict):
    """What is known of a file in a guest. Type is file, directory, link or other."""

    path: str
    type: str
    size_bytes: int
    mode: SeedMode
    uid: int
    gid: int
    modified_at: str
    target: NotRequired[str]


class ReadFileResult(FileInfo):
    """What was read. Exactly one of Content and ContentBase64 is set, unless nothing was read."""

    task_id: str
    content: str
    content_base64: NotRequired[str]
    truncated: bool


class WriteFileResult(FileInfo):
    """The written file."""

    task_id: str


class ListFilesResult(TypedDict):
    """What is in a directory, in the order of names."""

    task_id: str
    path: str
    files: list[FileInfo]
    truncated: bool


class FileChange(TypedDict):
    """A file or a link that is not what it was. Change is added, modified or removed; modified is also one
    whose permission to be run has changed."""

    path: str
    change: str
    size_bytes: int


class DiffTaskResult(TypedDict):
    """What a task changed, in the order of paths."""

    task_id: str
    changes: list[FileChange]
    patch: NotRequired[str]
    left_out: NotRequired[list[str]]
    truncated: NotRequired[bool]


class SyncTaskResult(TypedDict):
    """Which files were written and removed in the task, and which were left as the task has them because it
    changed them as well."""

    task_id: str
    written: list[str]
    removed: list[str]
    conflicts: list[str]


class PatchTaskResult(TypedDict):
    """Which files were changed."""

    task_id: str
    written: list[str]
    removed: list[str]


class Snapshot(TypedDict):
    """A task as it was at one moment."""

    snapshot_id: str
    name: NotRequired[str]
    task_id: str
    environment: str
    created_at: str
    memory: bool
    without_memory: NotRequired[str]
    mem_mib: int
    pause_ms: int
    memory_bytes: int
    disk_bytes: int
    shared_bytes: int
    bytes: int
    forks: list[str]
    commands: list[str]


class ForkTaskResult(TypedDict):
    """ForkTaskResult has the forks."""

    tasks: list[Task]


class RollbackTaskResult(Task):
    """The task after it was rolled back."""

    snapshot_id: str
    duration_ms: int


class CommitTaskResult(TypedDict):
    """The installed environment."""

    task_id: str
    duration_ms: int
    environment: EnvironmentManifest


class ListSnapshotsResult(TypedDict):
    """ListSnapshotsResult has all snapshots, oldest first."""

    snapshots: list[Snapshot]
    total_bytes: int
    limit_bytes: int


class DeleteSnapshotResult(TypedDict):
    """What a deletion did."""

    snapshot_id: str
    deleted: bool
    freed_bytes: int
