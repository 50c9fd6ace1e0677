"""Preparing once on each machine, and forking for each job.

What a job is a fork of is a snapshot on the machine that the job was placed on. The first job there makes it, under a
lock, and the others wait for it. Nobody has to say which machines there are.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from ._client import Pyro
from ._jobs import LEASE_SECONDS, Plan
from ._scratch import beside_tasks
from .errors import NotFoundError, PyroError

STALE_SECONDS = 3600  # a snapshot that nobody used for so long, of a run that did not end in order


class NotPreparedError(PyroError):
    """What jobs are forks of could not be made on this machine."""

    kind = "not_prepared"


def forked(pyro: Pyro, environment: str, plan: Plan, new_task: Callable[[], str]) -> str:
    """Give a new task that goes on from what was prepared, which is done now if this machine does not have it yet."""
    name = _name(plan)
    with _locked(name, fcntl.LOCK_SH) as lock:
        if _tried(lock):
            return _fork(pyro, name, lock, plan)
    with _locked(name, fcntl.LOCK_EX) as lock:
        if not _tried(lock):
            _sweep(pyro, name)
            _note(lock, plan, _make(pyro, plan, name, new_task))
    with _locked(name, fcntl.LOCK_SH) as lock:
        return _fork(pyro, name, lock, plan)


def discard(pyro: Pyro, plan: Plan) -> None:
    """Remove what was prepared on this machine."""
    if plan.prepare is not None and (_directory() / _name(plan)).exists():
        with _locked(_name(plan), fcntl.LOCK_EX) as lock:
            _remove(pyro, _name(plan), lock)


def _fork(pyro: Pyro, name: str, lock: IO[str], plan: Plan) -> str:
    lock.seek(0)
    noted = json.load(lock)
    if noted["failure"] and noted["run"] == plan.run:
        raise NotPreparedError(noted["failure"])
    os.utime(lock.fileno())
    try:
        ttl = int(plan.options.get("ttl_seconds", LEASE_SECONDS))
        return pyro.fork_task(snapshot=name, ttl_seconds=ttl)["tasks"][0]["task_id"]
    except NotFoundError as e:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(lock.name)  # somebody removed the snapshot: the next attempt prepares again
        raise NotPreparedError(f"what was prepared is gone: {e.message}") from None


def _make(pyro: Pyro, plan: Plan, name: str, new_task: Callable[[], str]) -> str:
    """Prepare, and keep it as a snapshot; "" or why that failed."""
    try:
        with contextlib.suppress(NotFoundError):
            pyro.delete_snapshot(name)
        task = new_task()
        try:
            failure = _prepare(pyro, plan, task)
            if not failure:
                pyro.snapshot_task(task, name=name)
            return failure
        finally:
            pyro.delete_task(task)
    except PyroError as e:
        return f"preparing failed: {e}"


def _prepare(pyro: Pyro, plan: Plan, task: str) -> str:
    if callable(plan.prepare):
        try:
            plan.prepare(pyro, task)
        except Exception as e:  # the function's own, or of what it asked for
            return f"preparing failed: {type(e).__name__}: {e}"
        return ""
    assert plan.prepare is not None
    out = pyro.exec_task(task, command=plan.prepare, timeout_seconds=0)
    if out["exit_code"]:
        last = (out["stderr"] or out["stdout"]).strip().splitlines()[-1:] or [""]
        return f"preparing ended with {out['exit_code']}: {last[0][:200]}"
    return ""


def _name(plan: Plan) -> str:
    """Name a preparation by what it is made of, so that a second run finds it; a function's is its run's alone."""
    of = plan.prepare if isinstance(plan.prepare, str) else plan.run
    text = json.dumps([plan.environment, sorted(plan.options.items()), of, plan.output], default=repr)
    return "prepared-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _directory() -> Path:
    return beside_tasks("prepared")


@contextlib.contextmanager
def _locked(name: str, how: int) -> Iterator[IO[str]]:
    """Hold the lock of a preparation, whose file also says how it ended."""
    path = _directory() / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        with open(path, "a+") as f:
            fcntl.flock(f, how)
            try:
                if os.stat(path).st_ino != os.fstat(f.fileno()).st_ino:
                    continue
            except FileNotFoundError:
                continue
            f.seek(0)
            yield f
            return


def _tried(lock: IO[str]) -> bool:
    return os.fstat(lock.fileno()).st_size > 0


def _note(lock: IO[str], plan: Plan, failure: str) -> None:
    lock.truncate(0)
    json.dump({"run": plan.run, "failure": failure}, lock)
    lock.flush()


def _sweep(pyro: Pyro, mine: str) -> None:
    """Remove what runs left here whose driver was killed, and that nobody uses."""
    for path in _directory().iterdir():
        if path.name == mine or time.time() - path.stat().st_mtime < STALE_SECONDS:
            continue
        with open(path) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(pyro, path.name, lock)


def _remove(pyro: Pyro, name: str, lock: IO[str]) -> None:
    with contextlib.suppress(NotFoundError):
        pyro.delete_snapshot(name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(lock.name)
