"""The client: each method is a request over the bridge."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any

from ._binary import find_binary
from ._bridge import Bridge, Feed, Handlers
from ._calls import Command
from ._command import Command as Background
from ._command import start
from ._files import Files
from ._operations import Operations
from ._server import Profile, Server, create_server
from ._stream import Run, stream
from .errors import NotFoundError
from .types import VM, RunResult, Task, TaskCommand


def settings(
    cache_dir: str | os.PathLike[str] | None,
    state_dir: str | os.PathLike[str] | None,
    accelerator: str | None,
    max_active_vms: int | None,
    mirror: str | None,
) -> dict[str, str]:
    """Give a client's arguments as the environment of the pyro that it starts."""
    given = {
        "PYRO_CACHE_DIR": cache_dir,
        "PYRO_STATE_DIR": state_dir,
        "PYRO_ACCELERATOR": accelerator,
        "PYRO_MAX_ACTIVE_VMS": max_active_vms,
        "PYRO_DEBIAN_MIRROR": mirror,
    }
    return {name: str(value) for name, value in given.items() if value is not None}


class Pyro(Operations):
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
        self._environment = settings(cache_dir, state_dir, accelerator, max_active_vms, mirror)
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

    def start(self, task_id: str, command: str, **options: Any) -> Background:
        """Start a command in the background of a task. options are those of start_command."""
        return start(self, task_id, command, options)

    def stream(self, task_id: str, command: Command, **options: Any) -> AbstractContextManager[Run]:
        """Run one command in a task, its output to be iterated over as it comes. options are those of exec_task.

        The command runs as long as the with block: leaving that early ends it.
        """
        return stream(self._bridge, task_id, command, options)

    def task(self, environment: str, **options: Any) -> TaskHandle:
        """Make a task that lasts as long as its with block. options are those of create_task."""
        return TaskHandle(self, environment, options)

    def vm(self, environment: str, **options: Any) -> VMHandle:
        """Start a VM for one command, which its with block runs when it wants to. options are those of create_vm."""
        return VMHandle(self, environment, options)

    def _send(self, method: str, params: dict[str, Any], handlers: Handlers | None, feed: Feed | None) -> Any:
        return self._bridge.call(method, params, handlers, feed)


class TaskHandle:
    """A task. It is created when its with block is entered, and deleted when that is left."""

    def __init__(self, pyro: Pyro, environment: str, options: dict[str, Any]) -> None:
        self._pyro = pyro
        self._environment = environment
        self._options = options
        self.record: Task

    @property
    def id(self) -> str:
        """The task's id."""
        return self.record["task_id"]

    @property
    def files(self) -> Files:
        """The task's files."""
        return Files(self._pyro, self.id)

    def __enter__(self) -> TaskHandle:
        self.record = self._pyro.create_task(self._environment, **self._options)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pyro.delete_task(self.id)

    def exec(self, command: Command, **options: Any) -> TaskCommand:
        """Run one command in the task. options are those of exec_task."""
        return self._pyro.exec_task(self.id, command=command, **options)

    def stream(self, command: Command, **options: Any) -> AbstractContextManager[Run]:
        """Run one command in the task, its output to be iterated over as it comes. options are those of exec_task."""
        return self._pyro.stream(self.id, command, **options)


class VMHandle:
    """A VM for one command: it is started when its with block is entered, and gone when that is left."""

    def __init__(self, pyro: Pyro, environment: str, options: dict[str, Any]) -> None:
        self._pyro = pyro
        self._environment = environment
        self._options = options
        self.record: VM

    @property
    def id(self) -> str:
        """The VM's id."""
        return self.record["vm_id"]

    def __enter__(self) -> VMHandle:
        self.record = self._pyro.create_vm(self._environment, **self._options)
        try:
            self.record = self._pyro.start_vm(self.id)
        except BaseException:
            self._pyro.delete_vm(self.id)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(NotFoundError):  # it goes with its command
            self._pyro.delete_vm(self.id)

    def exec(self, command: Command, **options: Any) -> RunResult:
        """Run the VM's command. options are those of exec_vm."""
        return self._pyro.exec_vm(self.id, command=command, **options)
