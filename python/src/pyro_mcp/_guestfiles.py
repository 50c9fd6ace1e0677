"""What the adapters share: files of a task as its user may have them, and output within a limit."""

from __future__ import annotations

import errno
import os
import posixpath

MISSING, DENIED, DIRECTORY, NO_DIRECTORY = 44, 43, 45, 46
"""Exit statuses by which the scripts say what is wrong. They run as a command of the user's, who may not do all that root may."""

_READ = f"""[ -d "$1" ] && exit {DIRECTORY}
[ -r "$1" ] || {{ [ -e "$1" ] && exit {DENIED}; exit {MISSING}; }}
exec head -c "$2" -- "$1"
"""
_WRITE = f"""[ -d "$1" ] && exit {DIRECTORY}
case $1 in */*) mkdir -p -- "${{1%/*}}/" 2>/dev/null || {{ [ -d "${{1%/*}}/" ] || exit {NO_DIRECTORY}; }} ;; esac
if [ -e "$1" ]; then [ -w "$1" ] || exit {DENIED}; fi
(: >>"$1") 2>/dev/null || exit {DENIED}
exec cat >"$1"
"""


def read_argv(path: str, limit: int) -> list[str]:
    """Give the command that writes the first limit bytes of a file to its output."""
    return ["/bin/sh", "-c", _READ, "sh", _shielded(path), str(limit)]


def write_argv(path: str) -> list[str]:
    """Give the command that puts its input into a file, and makes the directories above it."""
    return ["/bin/sh", "-c", _WRITE, "sh", _shielded(path)]


def own_workspace(user: str) -> list[str]:
    """Give the command by which root makes a task's workspace its user's."""
    return ["chown", "-R", user, "/workspace"]


def refused(code: int, path: str) -> OSError | None:
    """Give the error that an exit status of the scripts stands for, None for another one."""
    number = {MISSING: errno.ENOENT, DENIED: errno.EACCES, DIRECTORY: errno.EISDIR, NO_DIRECTORY: errno.ENOTDIR}.get(code)
    return None if number is None else OSError(number, os.strerror(number).lower(), path)


def _shielded(path: str) -> str:
    """A relative name that begins with a dash is no option."""
    return path if posixpath.isabs(path) else "./" + path


class Collected:
    """Output as it comes, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.data = bytearray()
        self.over = False

    def __call__(self, data: bytes) -> None:
        room = self._limit - len(self.data)
        self.over = self.over or len(data) > room
        self.data += data[:room]

    def text(self) -> str:
        """Give it as text; what is no UTF-8 is replaced."""
        return self.data.decode(errors="replace")
