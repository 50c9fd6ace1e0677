"""Where a run keeps its records and files: a directory that all workers see, or a place that fsspec can reach.

Whatever is written is written whole: a reader, or a second run, sees an object as one writer left it, or not at all.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Protocol


class Storage(Protocol):
    """A run's records and files, by names with '/' in them."""

    def read(self, name: str) -> bytes | None:
        """Give an object, None if there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Make or replace an object, whole or not at all."""

    def names(self, directory: str) -> set[str]:
        """Give the names of the objects in a directory."""

    def put(self, source: Path, name: str) -> str:
        """Make or replace an object of any size, whole or not at all, and say where it is."""

    def get(self, name: str, target: Path) -> None:
        """Copy an object to a new file."""


class _Directory:
    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        self._replace(name, lambda f: f.write(data))

    def names(self, directory: str) -> set[str]:
        try:
            return {name for name in os.listdir(self._root / directory) if not name.startswith(".")}
        except FileNotFoundError:
            return set()

    def put(self, source: Path, name: str) -> str:
        with open(source, "rb") as data:
            return str(self._replace(name, lambda f: shutil.copyfileobj(data, f, 1 << 20)))

    def get(self, name: str, target: Path) -> None:
        shutil.copyfile(self._root / name, target)

    def _replace(self, name: str, fill: Fill) -> Path:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-", delete=False) as f:
            try:
                fill(f)
                f.flush()
                os.fsync(f.fileno())
                os.replace(f.name, target)
            except BaseException:
                os.unlink(f.name)
                raise
        return target


class Fill(Protocol):
    """What fills a new file."""

    def __call__(self, f: IO[bytes], /) -> object: ...


class _URL:
    """An object store shows an object when all of it is there."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._fs, self._root = fsspec.core.url_to_fs(url)

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        self._fs.pipe_file(self._path(name), data)

    def names(self, directory: str) -> set[str]:
        self._fs.invalidate_cache()
        try:
            return {os.path.basename(path) for path in self._fs.ls(f"{self._root}/{directory}", detail=False)}
        except FileNotFoundError:
            return set()

    def put(self, source: Path, name: str) -> str:
        path = self._path(name)
        self._fs.put_file(str(source), path)
        return str(self._fs.unstrip_protocol(path))

    def get(self, name: str, target: Path) -> None:
        self._fs.get_file(f"{self._root}/{name}", str(target))

    def _path(self, name: str) -> str:
        path = f"{self._root}/{name}"
        self._fs.makedirs(os.path.dirname(path), exist_ok=True)
        return path


def storage(output: str) -> Storage:
    """Open where a run keeps what it makes."""
    return _URL(output) if "://" in output else _Directory(output)


def pack(directory: Path, target: Path) -> None:
    """Write what is in a directory as a tar: the same files give the same bytes."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for root, directories, names in os.walk(directory):
            directories.sort()
            links = [d for d in directories if os.path.islink(os.path.join(root, d))]
            for name in sorted([*directories, *names]):
                path = os.path.join(root, name)
                tar.add(path, os.path.relpath(path, directory), recursive=False, filter=_plain)
            for name in links:
                directories.remove(name)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def unpack(source: Path, directory: Path) -> None:
    """Write the files of a tar below a new directory. What leads outside it is refused."""
    directory.mkdir(parents=True)
    with tarfile.open(source) as tar:
        if hasattr(tarfile, "tar_filter"):
            tar.extractall(directory, filter="tar")
        else:
            root = os.path.realpath(directory)
            for member in tar:
                place = os.path.realpath(os.path.join(root, member.name))
                if os.path.commonpath([root, place]) != root:
                    raise ValueError(f"{member.name!r} leads outside the directory")
                tar.extract(member, directory)
