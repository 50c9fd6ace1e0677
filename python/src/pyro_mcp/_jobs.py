"""Many jobs, each counted once: names, records, files and a summary, for whatever engine spreads them over machines.

A run has a directory (or an fsspec URL). Each job has a key in it, made of what the job is. A job that ends leaves one
record, results/KEY.json, written whole and last; its files stand in files/KEY-ATTEMPT, which the record names. So a
job that ran twice counts once, and a second run of the same list does what has no record yet.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Union

from ._client import Pyro
from .errors import PyroError

Command = Union[str, "Callable[[Any], str]"]
Function = Callable[[Pyro, str, Any], Any]

# Failures of the machine that a job ran on, rather than of the job: it is tried again, elsewhere if that can be.
RETRIED = frozenset({"guest_lost", "guest_unavailable", "limit_reached", "bridge", "no_space", "timeout"})


@dataclasses.dataclass
class Result:
    """How one job ended. failure is "" for a command that exited with 0, or a function that returned."""

    key: str
    index: int
    job: Any
    failure: str = ""  # exit_status, timeout, or the kind of pyro's own failure
    message: str = ""
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    value: Any = None  # what a function returned
    seconds: float = 0.0
    host: str = ""
    attempt: str = ""
    files: str = ""  # where the job's files are, "" if it has none
    resumed: bool = False  # from an earlier run

    @property
    def ok(self) -> bool:
        """Tell whether the job did what it was to do."""
        return not self.failure


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is done for each job. It travels to the workers."""

    environment: str
    command: Command | None
    function: Function | None
    options: Mapping[str, Any]  # of run_in_vm, or of create_task for a function
    timeout_seconds: int
    output: str
    files: Sequence[str]

    @property
    def cpus(self) -> int:
        return int(self.options.get("vcpu_count", 1))

    @property
    def memory_mib(self) -> int:
        """The host memory that a guest may come to take, with its VMM's and supervisor's own."""
        return int(self.options.get("mem_mib", 1024)) + 64


@dataclasses.dataclass(frozen=True)
class Work:
    """One job on its way to a worker."""

    key: str
    index: int
    job: Any


class Storage(Protocol):
    """Where a run keeps its records and files."""

    def read(self, name: str) -> bytes | None: ...
    def write(self, name: str, data: bytes) -> None: ...
    def names(self, directory: str) -> set[str]: ...
    def put(self, source: Path, directory: str) -> str: ...


class _Directory:
    """A directory that all workers see."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-", delete=False) as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(f.name, target)

    def names(self, directory: str) -> set[str]:
        try:
            return {name for name in os.listdir(self._root / directory) if not name.startswith(".")}
        except FileNotFoundError:
            return set()

    def put(self, source: Path, directory: str) -> str:
        target = self._root / directory
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, symlinks=True)
        return str(target)


class _URL:
    """A place that fsspec can reach; an object store writes each object whole."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._fs, self._root = fsspec.core.url_to_fs(url)

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name}"
        self._fs.makedirs(os.path.dirname(path), exist_ok=True)
        self._fs.pipe_file(path, data)

    def names(self, directory: str) -> set[str]:
        try:
            return {os.path.basename(path) for path in self._fs.ls(f"{self._root}/{directory}", detail=False)}
        except FileNotFoundError:
            return set()

    def put(self, source: Path, directory: str) -> str:
        path = f"{self._root}/{directory}"
        self._fs.makedirs(os.path.dirname(path), exist_ok=True)
        self._fs.put(str(source), path, recursive=True)
        return str(self._fs.unstrip_protocol(path))


def storage(output: str) -> Storage:
    """Open where a run keeps what it makes."""
    return _URL(output) if "://" in output else _Directory(output)


def plan_of(
    environment: str, command: Command | None, function: Function | None, output: str | os.PathLike[str],
    files: Iterable[str], timeout_seconds: int, options: Mapping[str, Any],
) -> Plan:
    """Check what a run is asked to do."""
    if (command is None) == (function is None):
        raise ValueError("exactly one of command and function is needed")
    text = os.fspath(output)
    if "://" not in text:
        text = os.path.abspath(text)
    return Plan(environment, command, function, dict(options), timeout_seconds, text, tuple(files))


def work_of(jobs: Iterable[Any], key: Callable[[Any], str] | None) -> list[Work]:
    """Give each job its key. Equal jobs are told apart by how many of them came before."""
    seen: collections.Counter[str] = collections.Counter()
    out = []
    for index, job in enumerate(jobs):
        name = key(job) if key else _digest(job)
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,120}", name) or name.startswith("."):
            raise ValueError(f"the key {name!r} is no file name of at most 120 letters, digits, '.', '_' and '-'")
        seen[name] += 1
        if seen[name] > 1:
            if key:
                raise ValueError(f"two jobs have the key {name!r}")
            name = f"{name}-{seen[name]}"
        out.append(Work(name, index, job))
    return out


def _digest(job: Any) -> str:
    try:
        text = json.dumps(job, sort_keys=True)
    except TypeError:
        raise ValueError("a job that is not plain JSON needs key=, which names it the same in each run") from None
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def earlier(store: Storage, work: Sequence[Work]) -> tuple[list[Result], list[Work]]:
    """Split a list into what an earlier run has done, and what is left. Failures of pyro's own are done again."""
    names = store.names("results")
    done, left = [], []
    for w in work:
        data = store.read(f"results/{w.key}.json") if f"{w.key}.json" in names else None
        result = _read(data, w) if data else None
        if result is None or result.failure not in ("", "exit_status", "timed_out"):
            left.append(w)
        else:
            done.append(dataclasses.replace(result, resumed=True))
    return done, left


def _read(data: bytes, w: Work) -> Result | None:
    try:
        fields = json.loads(data)
        known = {f.name for f in dataclasses.fields(Result)}
        return Result(**{**{k: v for k, v in fields.items() if k in known}, "index": w.index, "job": w.job})
    except (ValueError, TypeError, AttributeError):
        return None  # A record that cannot be read is none: the job is done again.


@functools.cache
def _engine(pid: int) -> Pyro:
    return Pyro()


def perform(plan: Plan, w: Work) -> Result:
    """Do one job in this process, with its one engine, and leave its record."""
    began = time.monotonic()
    result = Result(w.key, w.index, w.job, host=os.uname().nodename, attempt=uuid.uuid4().hex[:8])
    store = storage(plan.output)
    try:
        if plan.command is not None:
            _run(plan, w, result)
        else:
            _call(plan, w, result, store)
    except PyroError as e:
        result.failure, result.message = e.kind, str(e)
    result.seconds = round(time.monotonic() - began, 3)
    if result.failure not in RETRIED:
        record = {k: v for k, v in dataclasses.asdict(result).items() if k != "resumed"}
        store.write(f"results/{w.key}.json", json.dumps(record, sort_keys=True, default=repr).encode())
    return result


def _run(plan: Plan, w: Work, result: Result) -> None:
    command = plan.command(w.job) if callable(plan.command) else plan.command
    assert command is not None
    out = _engine(os.getpid()).run_in_vm(
        plan.environment, command=command, timeout_seconds=plan.timeout_seconds, stdin=_stdin(w.job), **plan.options,
    )
    result.exit_code, result.stdout, result.stderr = out["exit_code"], out["stdout"], out["stderr"]
    if out.get("timed_out"):
        result.failure, result.message = "timed_out", out.get("notice", "")
    elif out["exit_code"]:
        result.failure, result.message = "exit_status", f"the command ended with {out['exit_code']}"


def _stdin(job: Any) -> bytes:
    """A command reads its job as JSON on its standard input."""
    return json.dumps(job, default=repr).encode() + b"\n"


def _call(plan: Plan, w: Work, result: Result, store: Storage) -> None:
    assert plan.function is not None
    engine = _engine(os.getpid())
    task = engine.create_task(plan.environment, **plan.options)["task_id"]
    try:
        try:
            result.value = plan.function(engine, task, w.job)
        except PyroError:
            raise
        except Exception as e:  # the function's own
            result.failure, result.message = "exception", f"{type(e).__name__}: {e}"
    finally:
        engine.delete_task(task)


class Tally:
    """Counts results, shows how a run gets on, and sums it up."""

    def __init__(self, total: int, show: bool) -> None:
        self.total = total
        self.counts: collections.Counter[str] = collections.Counter()
        self.resumed = 0
        self.first: dict[str, Result] = {}
        self._began = time.monotonic()
        self._show = show and sys.stderr.isatty()
        self._shown = 0.0

    def add(self, r: Result) -> None:
        self.counts[r.failure] += 1
        self.resumed += r.resumed
        if r.failure:
            self.first.setdefault(r.failure, r)
        now = time.monotonic()
        if self._show and (now - self._shown > 0.2 or self.done == self.total):
            self._shown = now
            sys.stderr.write("\r\x1b[K" + self.line())
            if self.done == self.total:
                sys.stderr.write("\n")
            sys.stderr.flush()

    @property
    def done(self) -> int:
        return sum(self.counts.values())

    def line(self) -> str:
        """Give one line: how many, how fast, what failed, how long yet."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        rate = (self.done - self.resumed) / elapsed
        parts = [f"{self.done} of {self.total}", f"{rate:.1f} a second"]
        parts += [f"{n} {kind}" for kind, n in sorted(self.counts.items()) if kind]
        if rate and self.done < self.total:
            parts.append(f"{(self.total - self.done) / rate:.0f} s left")
        return ", ".join(parts)

    def summary(self) -> str:
        """Say in a few lines what failed and why."""
        lines = [f"{self.done} of {self.total} jobs done, {self.counts['']} as they should"]
        if self.resumed:
            lines[0] += f", {self.resumed} of them in an earlier run"
        for kind, r in sorted(self.first.items()):
            lines.append(f"{self.counts[kind]} {kind}, the first {r.key}: {r.message}")
        return "\n".join(lines)


def in_order(results: Iterable[Result]) -> Iterator[Result]:
    """Give results by their place in the list, as soon as all before them are there."""
    waiting: dict[int, Result] = {}
    following = 0
    for r in results:
        waiting[r.index] = r
        while following in waiting:
            yield waiting.pop(following)
            following += 1
