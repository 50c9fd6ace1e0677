"""A sandbox for Inspect: sandbox="pyro", or ("pyro", "debian:12"), or ("pyro", Config(…)). A sample has a task of its own."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any, Literal, overload

from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxConnection,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxEnvironmentLimits,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from pydantic import BaseModel, ConfigDict

from ._async_client import AsyncPyro
from ._guestfiles import Collected, own_workspace, read_argv, refused, write_argv
from .errors import GuestLostError, InvalidArgumentError, NotFoundError

MAKER = "inspect_ai"
SHELL_CANNOT_RUN = 126


class Config(BaseModel):
    """What the task of a sample is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str = "debian:12"
    user: str | None = None
    vcpu_count: int = 1
    mem_mib: int = 1024
    disk_mib: int = 8192
    network: bool = False
    allow: tuple[str, ...] = ()
    ttl_seconds: int = 3600


class _Clients:
    """One client for each event loop."""

    def __init__(self) -> None:
        self._all: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncPyro] = weakref.WeakKeyDictionary()

    def current(self) -> AsyncPyro:
        return self._all.setdefault(asyncio.get_running_loop(), AsyncPyro())

    async def close(self) -> None:
        if client := self._all.pop(asyncio.get_running_loop(), None):
            await client.close()


_clients = _Clients()


@sandboxenv(name="pyro")
class PyroSandboxEnvironment(SandboxEnvironment):
    """A sample's task."""

    def __init__(self, task_id: str) -> None:
        super().__init__()
        self.task_id = task_id

    async def exec(
        self, cmd: list[str], input: str | bytes | None = None, cwd: str | None = None, env: dict[str, str] | None = None,
        user: str | None = None, timeout: int | None = None, timeout_retry: bool = True, concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command. The retries of a timeout are for what is safe to repeat, which nobody knows here: there are none."""
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        out, err = Collected(limit), Collected(limit)
        code = await self._run(cmd, out, err, stdin=input, workdir=cwd, env=env, user=user, timeout_seconds=timeout or 0)
        if out.over or err.over:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, out.text())
        if code == SHELL_CANNOT_RUN and "permission denied" in err.text().lower():
            raise PermissionError(f"cannot run {cmd[0]!r}: {err.text().strip()}")
        return ExecResult(code == 0, code, out.text(), err.text())

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file as the sandbox's user may."""
        err = Collected(4096)
        code = await self._run(write_argv(file), Collected(0), err, stdin=contents)
        if error := refused(code, file):
            raise error
        if code != 0:
            raise OSError(f"cannot write {file!r}: {err.text().strip()}")

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...
    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...
    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Read a file as the sandbox's user may."""
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        out, err = Collected(limit), Collected(4096)
        code = await self._run(read_argv(file, limit + 1), out, err)
        if error := refused(code, file):
            raise error
        if code != 0:
            raise OSError(f"cannot read {file!r}: {err.text().strip()}")
        if out.over:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        return out.data.decode() if text else bytes(out.data)

    async def connection(self, *, user: str | None = None) -> SandboxConnection:
        """Tell how a person gets into the task."""
        return SandboxConnection(type="pyro", command=f"pyro task shell {self.task_id}")

    async def _run(self, cmd: list[str], out: Collected, err: Collected, **options: Any) -> int:
        options.setdefault("timeout_seconds", 0)
        try:
            result = await _clients.current().exec_task(
                self.task_id, command=cmd, on_stdout=out, on_stderr=err, grace_seconds=1, **options)
        except InvalidArgumentError as e:
            if options.get("user") and "user" in str(e):
                raise SandboxUserUnsupportedError(str(e)) from e
            raise
        except GuestLostError as e:
            raise ConnectionError(str(e)) from e
        if result.get("timed_out"):
            raise TimeoutError(f"the command did not end within {options['timeout_seconds']} s")
        return result["exit_code"]

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Create a sample's task."""
        wanted = _config(config)
        task = await _clients.current().create_task(
            **{**wanted.model_dump(), "allow": wanted.allow or None}, metadata={"made_by": MAKER, "task": task_name[:200]})
        if wanted.user:
            await _clients.current().exec_task(task["task_id"], command=own_workspace(wanted.user), user="root")
        return {"default": cls(task["task_id"])}

    @classmethod
    async def sample_cleanup(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Delete a sample's task."""
        for environment in environments.values():
            await _delete(environment.as_type(PyroSandboxEnvironment).task_id)

    @classmethod
    async def task_cleanup(cls, task_name: str, config: SandboxEnvironmentConfigType | None, cleanup: bool) -> None:
        """End the client of this event loop."""
        await _clients.close()

    @classmethod
    async def cli_cleanup(cls, id: str | None) -> None:
        """Delete one task, or all that Inspect made."""
        async with AsyncPyro() as p:
            for task in (await p.list_vms())["tasks"]:
                made = (task.get("metadata") or {}).get("made_by") == MAKER
                if made and id in (None, task["task_id"]):
                    await p.delete_task(task["task_id"])

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        """Read a configuration from a log."""
        return Config(**config)


def _config(given: SandboxEnvironmentConfigType | None) -> Config:
    if given is None or isinstance(given, Config):
        return given or Config()
    if isinstance(given, str):
        return Config(environment=given)
    return Config(**given.model_dump())


async def _delete(task_id: str) -> None:
    try:
        await _clients.current().delete_task(task_id)
    except NotFoundError:
        pass  # its TTL was over
