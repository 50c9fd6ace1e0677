"""The results of the calls, as typed dictionaries. Moments are texts in RFC 3339."""

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


State = Literal["created", "started", "stopped"]
ExecutionMode = Literal["guest", "host_compat"]
Accelerator = Literal["kvm", "tcg"]


class Output(TypedDict):
    """How a command ended, and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str
    duration_ms: int
    execution_mode: ExecutionMode
    stdout_truncated: NotRequired[bool]
    stderr_truncated: NotRequired[bool]
    timed_out: NotRequired[bool]
    notice: NotRequired[str]
    cause: NotRequired[str]


class RunResult(Output):
    """One command in a VM that is gone now."""

    vm_id: str
    environment: str
    command: str
    vcpu_count: int
    mem_mib: int
    accelerator: Accelerator


class VM(TypedDict):
    """A VM's record."""

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


class WorkspaceSeed(TypedDict):
    """What a task's workspace was filled with."""

    mode: Literal["empty", "directory", "tar_archive"]
    source_path: str | None
    destination: str
    entry_count: int
    bytes_written: int


class LastCommand(TypedDict):
    """The newest command of a task."""

    command: str
    exit_code: int


class Task(TypedDict):
    """A task's record."""

    task_id: str
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
    last_command: LastCommand | None
    workspace_seed: WorkspaceSeed
    last_error: str | None
    metadata: dict[str, str]
    accelerator: Accelerator


class TaskCommand(Output):
    """One command of a task."""

    task_id: str
    sequence: int
    cwd: str
    command: str


class LogEntry(Output):
    """One command of a task's history."""

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


class DeleteResult(TypedDict):
    """What a deletion did."""

    deleted: bool


class ReapResult(TypedDict):
    """What was reaped."""

    count: int
    reaped: list[str]


class EnvironmentListing(TypedDict):
    """One row of the catalog."""

    name: str
    version: str
    description: str
    installed: bool


class Environments(TypedDict):
    """The catalog, and what else is installed."""

    environments: list[EnvironmentListing]


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


class PullPhase(TypedDict):
    """One phase of a finished pull."""

    name: str
    duration_ms: int


class PullResult(TypedDict):
    """The installed environment, and whether it is a new one."""

    changed: bool
    previous_origin: NotRequired[str]
    phases: list[PullPhase]
    environment: EnvironmentManifest


class PullProgress(TypedDict):
    """A moment of a pull. Totals are 0 while unknown."""

    phase: str
    detail: NotRequired[str]
    bytes_done: int
    bytes_total: int
    packages_done: int
    packages_total: int


class PruneResult(TypedDict):
    """What a prune removed."""

    removed: list[str]
    freed_bytes: int


class WarmResult(TypedDict):
    """A template: a booted guest, frozen."""

    environment: str
    template: str
    bytes: int
    duration_ms: int


class NetworkPolicy(TypedDict):
    """How far a guest reaches."""

    mode: str
    allow: list[str]


class NetworkCounters(TypedDict):
    """What went over a guest's network."""

    bytes_in: int
    bytes_out: int
    connections_allowed: int
    connections_refused: int


class PublishedPort(TypedDict):
    """A guest's port that is open on the host."""

    host_address: str
    host_port: int
    guest_port: int


class NetworkInfo(TypedDict):
    """The state of a guest's network."""

    vm_id: str
    enabled: bool
    counters: NetworkCounters
    guest_address: NotRequired[str]
    gateway: NotRequired[str]
    dns: NotRequired[str]
    mac: NotRequired[str]
    policy: NotRequired[NetworkPolicy]
    published: NotRequired[list[PublishedPort]]


class Everything(TypedDict):
    """All VMs and tasks that there are."""

    vms: list[VM]
    tasks: list[Task]
