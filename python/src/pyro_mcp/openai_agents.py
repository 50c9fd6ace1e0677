"""A sandbox client for the OpenAI Agents SDK: SandboxRunConfig(client=PyroSandboxClient(), options=PyroSandboxClientOptions())."""

from __future__ import annotations

import io
import math
import uuid
from pathlib import Path
from typing import Any, Literal

from agents.sandbox.errors import (
    ExecTimeoutError,
    ExecTransportError,
    ExposedPortUnavailableError,
    WorkspaceArchiveReadError,
    WorkspaceArchiveWriteError,
    WorkspaceReadNotFoundError,
    WorkspaceWriteTypeError,
)
from agents.sandbox.manifest import Manifest
from agents.sandbox.session import SandboxSession, SandboxSessionState
from agents.sandbox.session.base_sandbox_session import BaseSandboxSession
from agents.sandbox.session.manager import Instrumentation
from agents.sandbox.session.runtime_helpers import RESOLVE_WORKSPACE_PATH_HELPER, RuntimeHelperScript
from agents.sandbox.session.sandbox_client import BaseSandboxClient, BaseSandboxClientOptions
from agents.sandbox.session.tar_workspace import shell_tar_exclude_args
from agents.sandbox.snapshot import SnapshotBase, SnapshotSpec, resolve_snapshot
from agents.sandbox.types import ExecResult, ExposedPortEndpoint, User
from agents.sandbox.util.tar_utils import UnsafeTarMemberError, validate_tar_bytes

from ._async_client import AsyncPyro
from ._guestfiles import MISSING, Collected, read_argv, write_argv
from .errors import NotFoundError, PyroError

OUTPUT_LIMIT = 16 << 20
FILE_LIMIT = 1 << 30


class PyroSandboxClientOptions(BaseSandboxClientOptions):
    """What a session's task is made of."""

    type: Literal["pyro"] = "pyro"
    environment: str = "debian:12"
    vcpu_count: int = 1
    mem_mib: int = 1024
    disk_mib: int = 8192
    network: bool = False
    allow: tuple[str, ...] = ()
    ttl_seconds: int = 3600
    exposed_ports: tuple[int, ...] = ()


class PyroSandboxSessionState(SandboxSessionState):
    """What brings a session back: its task, and how to make another if that is gone."""

    type: Literal["pyro"] = "pyro"
    task_id: str
    options: PyroSandboxClientOptions


class PyroSandboxSession(BaseSandboxSession):
    """A session in a task."""

    state: PyroSandboxSessionState

    def __init__(self, state: PyroSandboxSessionState, pyro: AsyncPyro) -> None:
        self.state = state
        self._pyro = pyro

    async def running(self) -> bool:
        """Tell whether the task runs."""
        try:
            return (await self._pyro.status_task(self.state.task_id))["state"] == "started"
        except PyroError:
            return False

    async def read(self, path: Path | str, *, user: str | User | None = None) -> io.IOBase:
        """Read a file below the workspace."""
        where = await self._check_read_with_exec(path, user=user) if user else await self._validate_path_access(path)
        out, err = Collected(FILE_LIMIT), Collected(4096)
        code = await self._task_exec(read_argv(where.as_posix(), FILE_LIMIT + 1), out, err)
        if code == MISSING:
            raise WorkspaceReadNotFoundError(path=Path(path))
        if code != 0 or out.over:
            raise WorkspaceArchiveReadError(path=Path(path), context={"exit_code": code, "stderr": err.text()})
        return io.BytesIO(bytes(out.data))

    async def write(self, path: Path | str, data: io.IOBase, *, user: str | User | None = None) -> None:
        """Write a file below the workspace."""
        if user:
            await self._check_write_with_exec(path, user=user)
        where = await self._validate_path_access(path, for_write=True)
        err = Collected(4096)
        code = await self._task_exec(write_argv(where.as_posix()), Collected(0), err, stdin=_payload(data, Path(path)))
        if code != 0:
            raise WorkspaceArchiveWriteError(path=where, context={"exit_code": code, "stderr": err.text()})

    async def persist_workspace(self) -> io.IOBase:
        """Give the workspace as a tar archive."""
        root = self.state.manifest.root
        out, err = Collected(FILE_LIMIT), Collected(4096)
        excludes = " ".join(shell_tar_exclude_args(self._persist_workspace_skip_relpaths()))
        line = f'exec tar {excludes} -C "$1" -cf - .'
        code = await self._task_exec(["/bin/sh", "-c", line, "sh", root], out, err)
        if code != 0 or out.over:
            raise WorkspaceArchiveReadError(path=Path(root), context={"exit_code": code, "stderr": err.text()})
        return io.BytesIO(bytes(out.data))

    async def hydrate_workspace(self, data: io.IOBase) -> None:
        """Fill the workspace from a tar archive."""
        root = self.state.manifest.root
        payload = _payload(data, Path(root))
        try:
            validate_tar_bytes(payload, allow_external_symlink_targets=False)
        except UnsafeTarMemberError as e:
            raise WorkspaceArchiveWriteError(path=Path(root), context={"member": e.member, "detail": str(e)}, cause=e) from e
        err = Collected(4096)
        line = 'mkdir -p "$1" && exec tar -C "$1" -xf -'
        code = await self._task_exec(["/bin/sh", "-c", line, "sh", root], Collected(0), err, stdin=payload)
        if code != 0:
            raise WorkspaceArchiveWriteError(path=Path(root), context={"exit_code": code, "stderr": err.text()})

    def _runtime_helpers(self) -> tuple[RuntimeHelperScript, ...]:
        return (RESOLVE_WORKSPACE_PATH_HELPER,)

    async def _validate_path_access(self, path: Path | str, *, for_write: bool = False) -> Path:
        return await self._validate_remote_path_access(path, for_write=for_write)

    async def _prepare_backend_workspace(self) -> None:
        await self._task_exec(["mkdir", "-p", "--", self.state.manifest.root], Collected(0), Collected(0))

    async def _exec_internal(self, *command: str | Path, timeout: float | None = None) -> ExecResult:
        words = [str(word) for word in command]
        out, err = Collected(OUTPUT_LIMIT), Collected(OUTPUT_LIMIT)
        limit = 0 if timeout is None else max(1, math.ceil(timeout))
        try:
            result = await self._pyro.exec_task(
                self.state.task_id, command=words, workdir=self.state.manifest.root, timeout_seconds=limit, grace_seconds=1,
                env=await self.state.manifest.environment.resolve() or None, on_stdout=out, on_stderr=err)
        except PyroError as e:
            raise ExecTransportError(command=words, cause=e) from e
        if result.get("timed_out"):
            raise ExecTimeoutError(command=words, timeout_s=timeout)
        return ExecResult(stdout=bytes(out.data), stderr=bytes(err.data), exit_code=result["exit_code"])

    async def _task_exec(self, argv: list[str], out: Collected, err: Collected, stdin: bytes | None = None) -> int:
        try:
            result = await self._pyro.exec_task(
                self.state.task_id, command=argv, workdir="/", stdin=stdin, on_stdout=out, on_stderr=err, timeout_seconds=0)
        except PyroError as e:
            raise ExecTransportError(command=argv, cause=e) from e
        return result["exit_code"]

    async def _resolve_exposed_port(self, port: int) -> ExposedPortEndpoint:
        try:
            way = await self._pyro.forward_port(self.state.task_id, guest_port=port)
        except PyroError as e:
            raise ExposedPortUnavailableError(
                port=port, exposed_ports=self.state.exposed_ports, reason="backend_unavailable", cause=e) from e
        return ExposedPortEndpoint(host=way["host_ip"], port=way["host_port"])

    async def _shutdown_backend(self) -> None:
        try:
            await self._pyro.delete_task(self.state.task_id)
        except NotFoundError:
            pass  # its TTL was over


class PyroSandboxClient(BaseSandboxClient[PyroSandboxClientOptions]):
    """Makes sessions. Close it, or use it in an async with statement; a pyro that is given stays its owner's to close."""

    backend_id = "pyro"
    supports_default_options = True

    def __init__(self, pyro: AsyncPyro | None = None, *, instrumentation: Instrumentation | None = None) -> None:
        self._own = None if pyro else AsyncPyro()
        self._pyro = pyro or self._own or AsyncPyro()
        self._instrumentation = instrumentation or Instrumentation()

    async def create(
        self, *, snapshot: SnapshotSpec | SnapshotBase | None = None, manifest: Manifest | None = None,
        options: PyroSandboxClientOptions | None = None,
    ) -> SandboxSession:
        """Make a session with a task of its own."""
        manifest = manifest or Manifest()
        self._validate_manifest_for_create(manifest)
        options = options or PyroSandboxClientOptions()
        number = uuid.uuid4()
        state = PyroSandboxSessionState(
            session_id=number, manifest=manifest, snapshot=resolve_snapshot(snapshot, str(number)), options=options,
            task_id=await self._make(options), exposed_ports=options.exposed_ports)
        return self._wrap_session(PyroSandboxSession(state, self._pyro), instrumentation=self._instrumentation)

    async def resume(self, state: SandboxSessionState) -> SandboxSession:
        """Take up a session where it was, or anew if its task is gone."""
        if not isinstance(state, PyroSandboxSessionState):
            raise TypeError("the state is not of a session of pyro's")
        try:
            task = await self._pyro.status_task(state.task_id)
            if task["state"] == "stopped":
                await self._pyro.start_task(state.task_id)
            elif task["state"] == "paused":
                await self._pyro.resume_task(state.task_id)
            kept = True
        except NotFoundError:
            state.task_id, kept = await self._make(state.options), False
            state.workspace_root_ready = False
        session = PyroSandboxSession(state, self._pyro)
        session._set_start_state_preserved(kept, system=kept)
        return self._wrap_session(session, instrumentation=self._instrumentation)

    async def delete(self, session: SandboxSession) -> SandboxSession:
        """Delete a session's task."""
        if not isinstance(session._inner, PyroSandboxSession):
            raise TypeError("the session is not of pyro's")
        await session._inner.shutdown()
        return session

    def deserialize_session_state(self, payload: dict[str, object]) -> SandboxSessionState:
        """Read a session's state, as it was kept."""
        return self._deserialize_session_state_payload(payload, PyroSandboxSessionState)

    async def close(self) -> None:
        """End what the client runs. Tasks live on until they are deleted, or for their TTL."""
        if self._own:
            await self._own.close()

    async def __aenter__(self) -> PyroSandboxClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _make(self, options: PyroSandboxClientOptions) -> str:
        wanted: dict[str, Any] = options.model_dump(exclude={"exposed_ports"})
        del wanted["type"]  # which the SDK's own serializer puts back
        wanted["allow"] = list(options.allow) or None
        return (await self._pyro.create_task(**wanted, metadata={"made_by": "openai-agents"}))["task_id"]


def _payload(data: io.IOBase, path: Path) -> bytes:
    content = data.read()
    if isinstance(content, str):
        content = content.encode()
    if not isinstance(content, (bytes, bytearray)):
        raise WorkspaceWriteTypeError(path=path, actual_type=type(content).__name__)
    return bytes(content)
