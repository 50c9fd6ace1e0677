"""The client for asyncio: each method is a request over the bridge, and cancelling it cancels what it runs."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any

from ._async_bridge import AsyncBridge
from ._async_operations import AsyncOperations
from ._binary import find_binary
from ._bridge import Feed, Handlers
from ._calls import Command
from ._client import settings
from ._files import AsyncFiles
from ._stream import AsyncRun, stream_async
from .errors import NotFoundError
from .types import VM, RunResult, Task, TaskCommand


class AsyncPyro(AsyncOperations):
    """Runs commands in microVMs, from asyncio. It belongs to one event loop; use it in an async with statement.

    The arguments are those of Pyro. A task that is cancelled while it waits for a command has the command killed.
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
        self._bridge = AsyncBridge(
            lambda: find_binary(binary), settings(cache_dir, state_dir, accelerator, max_active_vms, mirror))

    async def close(self) -> None:
        """End the calls under way. VMs and tasks live on."""
        await self._bridge.close()

    async def __aenter__(self) -> AsyncPyro:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def stream(self, task_id: str, command: Command, **options: Any) -> AbstractAsyncContextManager[AsyncRun]:
        """Run one command in a task, its output to be iterated over as it comes. options are those of exec_task.

        The command runs as long as the async with block: leaving that early ends it.
        """
        return stream_async(self._bridge, task_id, command, options)

    def task(self, environment: str, **options: Any) -> AsyncTask:
        """Make a task that lasts as long as its async with block. options are those of create_task."""
        return AsyncTask(self, environment, options)

    def vm(self, environment: str, **options: Any) -> AsyncVM:
        """Start a VM for one command, which its block runs when it wants to. options are those of create_vm."""
        return AsyncVM(self, environment, options)

    async def _send(self, method: str, params: dict[str, Any], handlers: Handlers | None, feed: Feed | None) -> Any:
        return await self._bridge.call(method, params, handlers, feed)


class AsyncTask:
    """A task. It is created when its block is entered, and deleted when that is left."""

    def __init__(self, pyro: AsyncPyro, environment: str, options: dict[str, Any]) -> None:
        self._pyro = pyro
        self._environment = environment
        self._options = options
        self.record: Task

    @property
    def id(self) -> str:
        """The task's id."""
        return self.record["task_id"]

    @property
    def files(self) -> AsyncFiles:
        """The task's files."""
        return AsyncFiles(self._pyro, self.id)

    async def __aenter__(self) -> AsyncTask:
        self.record = await self._pyro.create_task(self._environment, **self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pyro.delete_task(self.id)

    async def exec(self, command: Command, **options: Any) -> TaskCommand:
        """Run one command in the task. options are those of exec_task."""
        return await self._pyro.exec_task(self.id, command=command, **options)

    def stream(self, command: Command, **options: Any) -> AbstractAsyncContextManager[AsyncRun]:
        """Run one command in the task, its output to be iterated over as it comes. options are those of exec_task."""
        return self._pyro.stream(self.id, command, **options)


class AsyncVM:
    """A VM for one command: it is started when its block is entered, and gone when that is left."""

    def __init__(self, pyro: AsyncPyro, environment: str, options: dict[str, Any]) -> None:
        self._pyro = pyro
        self._environment = environment
        self._options = options
        self.record: VM

    @property
    def id(self) -> str:
        """The VM's id."""
        return self.record["vm_id"]

    async def __aenter__(self) -> AsyncVM:
        self.record = await self._pyro.create_vm(self._environment, **self._options)
        try:
            self.record = await self._pyro.start_vm(self.id)
        except BaseException:
            await self._pyro.delete_vm(self.id)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(NotFoundError):  # it goes with its command
            await self._pyro.delete_vm(self.id)

    async def exec(self, command: Command, **options: Any) -> RunResult:
        """Run the VM's command. options are those of exec_vm."""
        return await self._pyro.exec_vm(self.id, command=command, **options)
