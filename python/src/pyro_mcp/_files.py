"""The files of a task, as its object has them. Relative paths begin at /workspace."""

from __future__ import annotations

import os

from ._async_operations import AsyncOperations
from ._bridge import decode, encode
from ._operations import Operations
from .errors import InvalidArgumentError
from .types import CopyResult, FileInfo, ReadFileResult, WriteFileResult

PAGE = 4 << 20  # bytes that are read at once
READ_LIMIT = 64 << 20  # bytes of a file that is read whole, unless the caller says otherwise


class _Content:
    """A file's content, page by page, up to a limit."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._limit = limit
        self.data = bytearray()

    def take(self, page: ReadFileResult) -> bool:
        """Take a page, and tell whether that was the last one."""
        encoded = page.get("content_base64")
        data = decode(encoded) if encoded else page["content"].encode()
        self.data += data
        if len(self.data) > self._limit or page["truncated"] and page["size_bytes"] > self._limit:
            raise InvalidArgumentError(
                f"{self._path!r} has more than {self._limit} bytes", hint="download it, or give a larger max_bytes")
        return not page["truncated"] or not data


def _written(content: str | bytes) -> dict[str, str]:
    return {"content": content} if isinstance(content, str) else {"content_base64": encode(content)}


class Files:
    """The files of a task."""

    def __init__(self, pyro: Operations, task_id: str) -> None:
        self._pyro = pyro
        self._task = task_id

    def read(self, path: str) -> str:
        """Give a file as text, which has to be UTF-8."""
        return self.read_bytes(path).decode()

    def read_bytes(self, path: str, *, max_bytes: int = READ_LIMIT) -> bytes:
        """Give a file's content. One that has more than max_bytes is refused."""
        content = _Content(path, max_bytes)
        while not content.take(self._pyro.read_file(
                self._task, path=path, offset_bytes=len(content.data), max_bytes=PAGE)):
            pass
        return bytes(content.data)

    def write(self, path: str, content: str | bytes, *, mode: str | None = None) -> WriteFileResult:
        """Make or replace a file, whole or not at all, and the directories above it. mode is octal, as in "755"."""
        return self._pyro.write_file(self._task, path=path, mode=mode, **_written(content))

    def list(self, path: str | None = None, *, recursive: bool = False) -> list[FileInfo]:
        """List what is in a directory, at most 1000 entries."""
        return self._pyro.list_files(self._task, path=path, recursive=recursive)["files"]

    def upload(self, host_path: str | os.PathLike[str], path: str) -> CopyResult:
        """Copy a file or a directory of this host into the task."""
        return self._pyro.upload(self._task, host_path=host_path, path=path)

    def download(self, path: str, host_path: str | os.PathLike[str]) -> CopyResult:
        """Copy a file or a directory of the task to this host."""
        return self._pyro.download(self._task, path=path, host_path=host_path)


class AsyncFiles:
    """The files of a task, for asyncio."""

    def __init__(self, pyro: AsyncOperations, task_id: str) -> None:
        self._pyro = pyro
        self._task = task_id

    async def read(self, path: str) -> str:
        """Give a file as text, which has to be UTF-8."""
        return (await self.read_bytes(path)).decode()

    async def read_bytes(self, path: str, *, max_bytes: int = READ_LIMIT) -> bytes:
        """Give a file's content. One that has more than max_bytes is refused."""
        content = _Content(path, max_bytes)
        while not content.take(await self._pyro.read_file(
                self._task, path=path, offset_bytes=len(content.data), max_bytes=PAGE)):
            pass
        return bytes(content.data)

    async def write(self, path: str, content: str | bytes, *, mode: str | None = None) -> WriteFileResult:
        """Make or replace a file, whole or not at all, and the directories above it. mode is octal, as in "755"."""
        return await self._pyro.write_file(self._task, path=path, mode=mode, **_written(content))

    async def list(self, path: str | None = None, *, recursive: bool = False) -> list[FileInfo]:
        """List what is in a directory, at most 1000 entries."""
        return (await self._pyro.list_files(self._task, path=path, recursive=recursive))["files"]

    async def upload(self, host_path: str | os.PathLike[str], path: str) -> CopyResult:
        """Copy a file or a directory of this host into the task."""
        return await self._pyro.upload(self._task, host_path=host_path, path=path)

    async def download(self, path: str, host_path: str | os.PathLike[str]) -> CopyResult:
        """Copy a file or a directory of the task to this host."""
        return await self._pyro.download(self._task, path=path, host_path=host_path)
