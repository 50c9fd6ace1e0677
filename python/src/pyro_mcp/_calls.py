"""What the generated methods stand on: how arguments become a request's parameters."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, TypeVar, Union, cast

from ._bridge import INPUT_PIECE, Feed, Handlers, decode, encode
from ._notebook import progress_shown
from .types import LogEntry, PullProgress

T = TypeVar("T")

Command = Union[str, Sequence[str]]
"""A shell command line, or an argument vector that is run as it is."""

Input = Union[str, bytes, IO[bytes]]
OnOutput = Callable[[bytes], object]
OnProgress = Callable[[PullProgress], object]
OnEvent = Callable[[str, LogEntry, bytes], object]


class Calls(ABC):
    """Asks for operations."""

    @abstractmethod
    def _send(self, method: str, params: dict[str, Any], handlers: Handlers | None, feed: Feed | None) -> Any: ...

    def _call(self, method: str, handlers: Handlers | None = None, /, **params: Any) -> Any:
        """Ask for an operation. What is None is left out."""
        given, feed = _given(params)
        with progress_shown(handlers) as handlers:
            return self._send(method, given, handlers, feed)


class AsyncCalls(ABC):
    """Asks for operations, from asyncio."""

    @abstractmethod
    async def _send(
        self, method: str, params: dict[str, Any], handlers: Handlers | None, feed: Feed | None
    ) -> Any: ...

    async def _call(self, method: str, handlers: Handlers | None = None, /, **params: Any) -> Any:
        """Ask for an operation. What is None is left out."""
        given, feed = _given(params)
        with progress_shown(handlers) as handlers:
            return await self._send(method, given, handlers, feed)


def _given(params: Mapping[str, Any]) -> tuple[dict[str, Any], Feed | None]:
    """Take arguments apart: what goes into the request, and the input that goes beside it."""
    given = {name: value for name, value in params.items() if value is not None}
    feed = _feed(given)
    return {name: _plain(value) for name, value in given.items()}, feed


def _plain(value: Any) -> Any:
    """Give a value as JSON can hold it: byte strings in base64, any iterable as a list."""
    if isinstance(value, bytes):
        return encode(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return list(value)
    return value


def _path(path: str | os.PathLike[str] | None) -> str | None:
    """Give a path on this host from the root on: pyro may be elsewhere."""
    return None if path is None else os.path.abspath(path)


def _unless(standard: T, value: T) -> T | None:
    """Leave out what is the standard anyway."""
    return None if value == standard else value


def _command(command: Command) -> dict[str, Any]:
    """A command line is for a shell; a sequence of words is run as it is."""
    return {"command": command} if isinstance(command, str) else {"argv": list(command)}


def _feed(given: dict[str, Any]) -> Feed | None:
    """Take a command's input out of its arguments: what is longer than a piece goes beside them."""
    stdin = given.pop("stdin", None)
    if isinstance(stdin, str):
        stdin = stdin.encode()
    if isinstance(stdin, bytes) and len(stdin) <= INPUT_PIECE:
        if stdin:
            given["stdin"] = encode(stdin)
        return None
    return None if stdin is None else Feed(stdin)


def _handlers(
    on_stdout: OnOutput | None = None,
    on_stderr: OnOutput | None = None,
    on_progress: OnProgress | None = None,
    on_event: OnEvent | None = None,
) -> Handlers:
    """What to do with the notifications of one call."""
    outputs = {"stdout": on_stdout, "stderr": on_stderr}

    def output(message: dict[str, Any]) -> None:
        if callback := outputs.get(message["stream"]):
            callback(decode(message.get("data")))

    def progress(message: dict[str, Any]) -> None:
        if on_progress is not None:
            on_progress(cast(PullProgress, {k: v for k, v in message.items() if k != "id"}))

    def log(message: dict[str, Any]) -> None:
        if on_event is not None:
            on_event(message["kind"], message["entry"], decode(message.get("data")))

    handlers: dict[str, Callable[[dict[str, Any]], object]] = {"output": output, "log": log}
    if on_progress is not None:
        handlers["progress"] = progress
    return handlers
