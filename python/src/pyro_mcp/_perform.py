"""What a worker does for one job, with its process's one engine. It runs on whatever machine the job was placed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ._client import Pyro
from ._environments import reach
from ._jobs import LEASE_SECONDS, RETRIED, Plan, Result, Work
from ._prepared import forked
from ._scratch import scratch
from ._storage import Storage, pack, storage
from .errors import NotFoundError, PyroError

# What a command is given, rather than the guest that it runs in.
OF_COMMANDS = frozenset({"env", "workdir", "user", "secrets", "grace_seconds"})


@functools.cache
def engine_of(pid: int) -> Pyro:
    """Give a process's engine: a forked one does not share its parent's."""
    # The cluster counts processors and memory, and so how many guests a machine can hold.
    return Pyro(max_active_vms=None if "PYRO_MAX_ACTIVE_VMS" in os.environ else 1000)


def engine() -> Pyro:
    """Give this process's engine."""
    return engine_of(os.getpid())


def perform(plan: Plan, w: Work, host: str = "") -> Result:
    """Do one job in this process, and leave its record."""
    began = time.monotonic()
    result = Result(w.key, w.index, w.job, host=host or os.uname().nodename, attempt=uuid.uuid4().hex[:8])
    store = storage(plan.output)
    try:
        with scratch() as place:
            _do(plan, w, result, store, place)
    except PyroError as e:
        result.failure, result.message = e.kind, str(e)
    result.seconds = round(time.monotonic() - began, 3)
    if result.failure not in RETRIED:
        record = {k: v for k, v in dataclasses.asdict(result).items() if k != "resumed"}
        store.write(f"results/{w.key}.json", json.dumps(record, sort_keys=True, default=repr).encode())
    return result


def _do(plan: Plan, w: Work, result: Result, store: Storage, place: Path) -> None:
    pyro = engine()
    files, tar = place / "files", place / "tar"
    files.mkdir()
    environment, result.environment = reach(pyro, plan)
    if plan.function is None and plan.prepare is None:
        _run(pyro, environment, plan, w, result, files)
    else:
        with _task(pyro, environment, plan) as task:
            if plan.function is None:
                _exec(pyro, task, plan, w, result)
            else:
                _call(pyro, task, plan, w, result)
            for path in plan.files:
                _fetch(pyro, task, path, files, result)
    if any(files.iterdir()):
        pack(files, tar)
        result.files = store.put(tar, f"files/{w.key}.tar")


def _run(pyro: Pyro, environment: str, plan: Plan, w: Work, result: Result, files: Path) -> None:
    places = {path: _place(files, path) for path in plan.files}
    out = pyro.run_in_vm(
        environment, command=_command(plan, w), timeout_seconds=plan.timeout_seconds, stdin=_stdin(w.job),
        outputs=[f"{path}={place}" for path, place in places.items()] or None, **plan.options,
    )
    result.missing = [path for path, place in places.items() if not os.path.lexists(place)]
    _ended(result, out)


def _exec(pyro: Pyro, task: str, plan: Plan, w: Work, result: Result) -> None:
    options = {name: value for name, value in plan.options.items() if name in OF_COMMANDS}
    _ended(result, pyro.exec_task(
        task, command=_command(plan, w), timeout_seconds=plan.timeout_seconds, stdin=_stdin(w.job), **options))


def _call(pyro: Pyro, task: str, plan: Plan, w: Work, result: Result) -> None:
    assert plan.function is not None
    try:
        result.value = plan.function(pyro, task, w.job)
    except PyroError:
        raise
    except Exception as e:  # the function's own
        result.failure, result.message = "exception", f"{type(e).__name__}: {e}"


def _command(plan: Plan, w: Work) -> str:
    command = plan.command(w.job) if callable(plan.command) else plan.command
    assert command is not None
    return command


def _stdin(job: Any) -> bytes:
    """A command reads its job as JSON on its standard input."""
    return json.dumps(job, default=repr).encode() + b"\n"


def _ended(result: Result, out: Mapping[str, Any]) -> None:
    result.exit_code, result.stdout, result.stderr = out["exit_code"], out["stdout"], out["stderr"]
    if out.get("timed_out"):
        result.failure, result.message = "timed_out", out.get("notice", "")
    elif out["exit_code"]:
        result.failure, result.message = "exit_status", f"the command ended with {out['exit_code']}"


def _place(files: Path, path: str) -> Path:
    """Where a file of the guest stands among a job's files: in the directories that it has there."""
    place = files / path.strip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _fetch(pyro: Pyro, task: str, path: str, files: Path, result: Result) -> None:
    try:
        pyro.download(task, path=path, host_path=_place(files, path))
    except NotFoundError:
        result.missing.append(path)


@contextlib.contextmanager
def _task(pyro: Pyro, environment: str, plan: Plan) -> Iterator[str]:
    """Have a task for one job: a new one, or a fork of what was prepared on this machine."""
    if plan.prepare is None:
        task = new_task(pyro, environment, plan.options)
    else:
        task = forked(pyro, environment, plan, lambda: new_task(pyro, environment, plan.options))
    with leased(pyro, task):
        yield task


def new_task(pyro: Pyro, environment: str, options: Mapping[str, Any]) -> str:
    """Make a task that goes by itself soon after its worker is gone."""
    given = {name: value for name, value in options.items() if name not in ("secrets", "grace_seconds")}
    return pyro.create_task(environment, **{"ttl_seconds": LEASE_SECONDS, **given})["task_id"]


@contextlib.contextmanager
def leased(pyro: Pyro, task: str, ttl_seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Keep a task alive until the block is left, and then delete it. If this process dies, the task's TTL ends it."""
    left = threading.Event()

    def extend() -> None:
        while not left.wait(ttl_seconds / 4):
            with contextlib.suppress(PyroError):
                pyro.extend_task(task)

    thread = threading.Thread(target=extend, name="pyro-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
        with contextlib.suppress(NotFoundError):
            pyro.delete_task(task)
