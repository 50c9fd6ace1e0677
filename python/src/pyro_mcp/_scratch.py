"""Directories for files on their way through a worker, beside its node's tasks.

A worker can be killed at any moment. Each directory has a file that its worker holds locked, and whoever makes the
next one on the node removes those that nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


def beside_tasks(name: str) -> Path:
    """Give a place beside the machine's tasks, by the rules by which pyro finds it."""
    if state := os.environ.get("PYRO_STATE_DIR"):
        return Path(state, name)
    if home := os.environ.get("PYRO_HOME"):
        return Path(home, "state", name)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base, "pyro", name)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Have an empty directory until the block is left, and remove what killed workers have left."""
    root = beside_tasks("files")
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    _sweep(root)
    while True:
        place = root / uuid.uuid4().hex
        with open(_lock_of(place), "x") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.fstat(lock.fileno()).st_nlink:
                continue  # It was swept before it was held.
            place.mkdir(mode=0o700)
            try:
                yield place
            finally:
                _remove(place)
            return


def _lock_of(place: Path) -> Path:
    return place.with_suffix(".lock")


def _sweep(root: Path) -> None:
    for path in root.glob("*.lock"):
        try:
            with open(path) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.with_suffix(""))
        except (BlockingIOError, FileNotFoundError):
            pass  # Its worker lives, or somebody else was quicker.


def _remove(place: Path) -> None:
    """Remove a directory, and its lock last: what was begun is found again."""
    with contextlib.suppress(FileNotFoundError):
        for root, directories, _ in os.walk(place):  # A guest's directories may be closed to their owner.
            for name in directories:
                if not os.path.islink(os.path.join(root, name)):
                    os.chmod(os.path.join(root, name), 0o700)
        shutil.rmtree(place)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_lock_of(place))
