"""Many jobs, each counted once: what they are called, and what an earlier run has done of them.

A run has a directory (or an fsspec URL). Each job has a key in it, made of what the job is. A job that ends leaves its
files in files/KEY.tar and then one record, results/KEY.json; each is written whole, and another attempt at the same job
overwrites it whole. So a job that ran twice counts once, and a second run of the same list does what has no record yet.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Union

from ._client import Pyro
from ._storage import Storage, storage, unpack

Command = Union[str, "Callable[[Any], str]"]
Function = Callable[[Pyro, str, Any], Any]
Prepare = Union[str, "Callable[[Pyro, str], object]"]

# Failures of the machine that a job ran on, rather than of the job: it is tried again, elsewhere if that can be.
RETRIED = frozenset({
    "guest_lost", "guest_unavailable", "limit_reached", "bridge", "no_space", "timeout", "environment", "not_prepared",
})

# How a job ends that is not done again by another run.
FINAL = frozenset({"", "exit_status", "timed_out"})

LEASE_SECONDS = 120  # a task whose worker is gone lives for this long


@dataclasses.dataclass
class Result:
    """How one job ended. failure is "" for a command that exited with 0, or a function that returned."""

    key: str
    index: int
    job: Any
    failure: str = ""  # exit_status, timed_out, exception, or the kind of pyro's own failure
    message: str = ""
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    value: Any = None  # what a function returned
    seconds: float = 0.0
    host: str = ""  # the machine, by the name that its cluster has for it
    environment: str = ""  # what the environment was made of: its digest
    attempt: str = ""
    files: str = ""  # a tar with the job's files, "" if it has none
    missing: list[str] = dataclasses.field(default_factory=list)  # files that the job did not leave
    resumed: bool = False  # from an earlier run

    @property
    def ok(self) -> bool:
        """Tell whether the job did what it was to do."""
        return not self.failure

    def unpack(self, directory: str | os.PathLike[str]) -> None:
        """Write the job's files below a new directory."""
        place, _, name = self.files.rpartition("/files/")
        with tempfile.TemporaryDirectory(prefix="pyro-files-") as temporary:
            copy = Path(temporary, "tar")
            storage(place).get(f"files/{name}", copy)
            unpack(copy, Path(directory))


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
    prepare: Prepare | None  # makes what each job is a fork of
    run: str  # tells this run from others of the same list

    @property
    def cpus(self) -> int:
        """The processors that a guest has."""
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


def plan_of(
    environment: str, command: Command | None, function: Function | None, output: str | os.PathLike[str],
    files: Iterable[str], timeout_seconds: int, options: Mapping[str, Any], prepare: Prepare | None = None,
) -> Plan:
    """Check what a run is asked to do."""
    if (command is None) == (function is None):
        raise ValueError("exactly one of command and function is needed")
    if isinstance(files, str):
        raise ValueError("files is a list of paths, not one")
    for path in files:
        if ".." in PurePosixPath(path).parts or not PurePosixPath(path).name:
            raise ValueError(f"{path!r} does not name a file or directory of the guest")
    text = os.fspath(output)
    if "://" not in text:
        text = os.path.abspath(text)
    return Plan(
        environment, command, function, dict(options), timeout_seconds, text, tuple(files), prepare, uuid.uuid4().hex)


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
        if result is None or result.failure not in FINAL:
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


def in_order(results: Iterable[Result]) -> Iterator[Result]:
    """Give results by their place in the list, as soon as all before them are there."""
    waiting: dict[int, Result] = {}
    following = 0
    for r in results:
        waiting[r.index] = r
        while following in waiting:
            yield waiting.pop(following)
            following += 1
