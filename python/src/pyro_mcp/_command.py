"""A background command in the hands of a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._operations import Operations
from .types import BackgroundCommand


class Command:
    """A command that runs in the background of a task. Iterating gives its output, from the beginning, as it comes."""

    def __init__(self, pyro: Operations, task_id: str, command_id: str) -> None:
        self._pyro = pyro
        self.task_id = task_id
        self.command_id = command_id

    def __iter__(self) -> Iterator[str]:
        cursor = 0
        while True:
            piece = self._pyro.read_command(self.task_id, command_id=self.command_id, cursor=cursor, wait_ms=10_000)
            cursor = piece["cursor"]
            if piece["output"]:
                yield piece["output"]
            elif piece["ended_at"] is not None:
                return

    def wait(self, limit_seconds: int = 0) -> BackgroundCommand:
        """Wait until it has ended, for limit_seconds at most; 0 is no limit."""
        return self._pyro.wait_command(self.task_id, command_id=self.command_id, limit_seconds=limit_seconds)

    def status(self) -> BackgroundCommand:
        """Give its record."""
        return self._pyro.status_command(self.task_id, command_id=self.command_id)

    def write(self, text: str, *, end: bool = False) -> None:
        """Send input to it; end says that no more follows."""
        self._pyro.write_command(self.task_id, command_id=self.command_id, input=text, end=end)

    def signal(self, name: str) -> None:
        """Send it a signal, such as INT or TERM."""
        self._pyro.signal_command(self.task_id, command_id=self.command_id, signal=name)

    def stop(self, grace_seconds: int = 10) -> BackgroundCommand:
        """Ask it to end, and kill it if it has not in time."""
        return self._pyro.stop_command(self.task_id, command_id=self.command_id, grace_seconds=grace_seconds)

    def kill(self) -> BackgroundCommand:
        """End it at once, with all that it started."""
        return self.stop(0)


def start(pyro: Operations, task_id: str, command: str, options: Any) -> Command:
    """Start a command and give it as an object."""
    record = pyro.start_command(task_id, command=command, **options)
    return Command(pyro, task_id, record["command_id"])
