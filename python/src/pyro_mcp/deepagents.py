"""A sandbox for deepagents, and with it for LangChain: create_deep_agent(backend=PyroSandbox("debian:12"))."""

from __future__ import annotations

import posixpath
from typing import Any

from deepagents.backends.protocol import (
    ExecuteResponse,
    FileDownloadResponse,
    FileOperationError,
    FileUploadResponse,
)
from deepagents.backends.sandbox import BaseSandbox

from ._client import Pyro
from ._guestfiles import (
    DENIED,
    DIRECTORY,
    MISSING,
    NO_DIRECTORY,
    Collected,
    own_workspace,
    read_argv,
    write_argv,
)

OUTPUT_LIMIT = 1 << 20
FILE_LIMIT = 256 << 20
DEFAULT_TIMEOUT = 30 * 60
ERRORS: dict[int, FileOperationError] = {
    MISSING: "file_not_found", DENIED: "permission_denied", DIRECTORY: "is_directory", NO_DIRECTORY: "invalid_path",
}


class PyroSandbox(BaseSandbox):
    """A task, made at once. Close it, or use it in a with statement: that deletes the task."""

    enable_capture_offload = True

    def __init__(self, environment: str = "debian:12", *, pyro: Pyro | None = None, **options: Any) -> None:
        """Create the task. options are those of create_task; a pyro that is given stays its owner's to close."""
        self._own = None if pyro else Pyro()
        self._pyro = pyro or self._own or Pyro()
        options.setdefault("ttl_seconds", 3600)
        try:
            self._task = self._pyro.create_task(environment, **options)["task_id"]
            if user := options.get("user"):
                self._pyro.exec_task(self._task, command=own_workspace(user), user="root")
        except BaseException:
            self._end()
            raise

    @property
    def id(self) -> str:
        """The task's id."""
        return self._task

    def close(self) -> None:
        """Delete the task."""
        try:
            self._pyro.delete_task(self._task)
        finally:
            self._end()

    def __enter__(self) -> PyroSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a command line. Both streams are in the output, as they came; 0 is no limit in time."""
        output = Collected(OUTPUT_LIMIT)
        result = self._pyro.exec_task(
            self._task, command=command, on_stdout=output, on_stderr=output,
            timeout_seconds=DEFAULT_TIMEOUT if timeout is None else timeout)
        text = output.text()
        if result.get("timed_out"):
            text += f"\nthe command was ended: it took longer than {timeout or DEFAULT_TIMEOUT} s"
        return ExecuteResponse(output=text, exit_code=result["exit_code"], truncated=output.over)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Put contents into files."""
        return [FileUploadResponse(path=path, error=self._upload(path, content)) for path, content in files]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Give the contents of files."""
        return [self._download(path) for path in paths]

    def _upload(self, path: str, content: bytes) -> FileOperationError | str | None:
        if not posixpath.isabs(path):
            return "invalid_path"
        err = Collected(4096)
        code = self._run(write_argv(path), Collected(0), err, stdin=content)
        return None if code == 0 else ERRORS.get(code) or err.text().strip()

    def _download(self, path: str) -> FileDownloadResponse:
        if not posixpath.isabs(path):
            return FileDownloadResponse(path=path, error="invalid_path")
        out, err = Collected(FILE_LIMIT), Collected(4096)
        code = self._run(read_argv(path, FILE_LIMIT + 1), out, err)
        if code != 0:
            return FileDownloadResponse(path=path, error=ERRORS.get(code) or err.text().strip())
        if out.over:
            return FileDownloadResponse(path=path, error=f"the file is longer than {FILE_LIMIT} bytes")
        return FileDownloadResponse(path=path, content=bytes(out.data))

    def _run(self, argv: list[str], out: Collected, err: Collected, stdin: bytes | None = None) -> int:
        return self._pyro.exec_task(
            self._task, command=argv, stdin=stdin, on_stdout=out, on_stderr=err, timeout_seconds=0)["exit_code"]

    def _end(self) -> None:
        if self._own:
            self._own.close()
