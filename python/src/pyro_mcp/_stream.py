"""A command's output as it comes, to be iterated over."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, cast

from ._async_bridge import AsyncBridge, AsyncExchange
from ._async_operations import AsyncOperations
from ._bridge import Bridge, Exchange, Feed, Handlers, decode
from ._calls import Command
from ._operations import Operations
from .errors import InvalidStateError
from .types import TaskCommand

Name = Literal["stdout", "stderr"]
Piece = tuple[Name, str]


class _Run:
    """What both kinds of run have: texts made of bytes, and how the command ended."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}
        self._pieces: deque[Piece] = deque()
        self._result: TaskCommand | None = None
        self._ended = False

    @property
    def result(self) -> TaskCommand:
        """How the command ended, as exec gives it."""
        if self._result is None:
            raise InvalidStateError("the command's output has not been read to its end")
        return self._result

    def _take(self, notice: dict[str, Any] | None, result: Any) -> None:
        """Keep what is said about the command; nothing is its end."""
        if notice is None:
            self._ended, self._result = True, result
            for name in ("stdout", "stderr"):
                self._add(name, b"", final=True)
        elif notice["method"] == "output":
            self._add(notice["params"]["stream"], decode(notice["params"].get("data")))

    def _add(self, name: str, data: bytes, final: bool = False) -> None:
        if text := self._decoders[name].decode(data, final):
            self._pieces.append((cast(Name, name), text))


class Run(_Run):
    """A command that runs. Iterating gives its output as it comes: which stream, and a piece of text from it.

    No character is cut in two; bytes that are no UTF-8 are replaced.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        while not self._pieces:
            if self._ended:
                raise StopIteration
            self._take(self._exchange.notice(), self._exchange.result)
        return self._pieces.popleft()


class AsyncRun(_Run):
    """A command that runs, like Run, for async for."""

    def __init__(self, exchange: AsyncExchange) -> None:
        super().__init__()
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self

    async def __anext__(self) -> Piece:
        while not self._pieces:
            if self._ended:
                raise StopAsyncIteration
            self._take(await self._exchange.notice(), self._exchange.result)
        return self._pieces.popleft()


class _Opening(Operations):
    """Begins requests, and gives what is under way in place of a result."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def _send(self, method: str, params: dict[str, Any], handlers: Handlers | None, feed: Feed | None) -> Any:
        return self._bridge.open(method, params, feed)


class _AsyncOpening(AsyncOperations):
    """The same for asyncio."""

    def __init__(self, bridge: AsyncBridge) -> None:
        self._bridge = bridge

    async def _send(self, method: str, params: dict[str, Any], handlers: Handlers | None, feed: Feed | None) -> Any:
        return await self._bridge.open(method, params, feed)


def _streams(_: bytes) -> None:
    """Have a request ask for output as it comes."""


@contextmanager
def stream(bridge: Bridge, task_id: str, command: Command, options: dict[str, Any]) -> Iterator[Run]:
    """Run a command as long as the block; one that has not ended then is ended."""
    begun: Any = _Opening(bridge).exec_task(task_id, command=command, on_stdout=_streams, **options)
    exchange = cast(Exchange, begun)
    try:
        yield Run(exchange)
    finally:
        exchange.close()


@asynccontextmanager
async def stream_async(bridge: AsyncBridge, task_id: str, command: Command, options: dict[str, Any]) -> AsyncIterator[AsyncRun]:
    """Run a command as long as the block; one that has not ended then is ended."""
    begun: Any = await _AsyncOpening(bridge).exec_task(task_id, command=command, on_stdout=_streams, **options)
    exchange = cast(AsyncExchange, begun)
    try:
        yield AsyncRun(exchange)
    finally:
        await exchange.close()
