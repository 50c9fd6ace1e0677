"""Tasks on a Ray cluster, each held by an actor on the node that it was placed on."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ._jobs import LEASE_SECONDS
from ._perform import engine, leased, new_task
from ._scratch import scratch
from ._storage import pack, unpack
from .errors import GuestLostError, LimitReachedError, PyroError
from .types import FileInfo, Task, TaskCommand

READ_BYTES = 4 << 20  # of one call to read a file


class FleetTask:
    """A task on some node. Its calls are those of a task on this machine; GuestLostError says that its node is gone."""

    def __init__(self, fleet: Fleet, actor: Any) -> None:
        self._fleet = fleet
        self._actor = actor

    def exec(self, command: str | Sequence[str], **options: Any) -> TaskCommand:
        """Run one command. options are those of exec_task, except for what is called as output comes."""
        return cast(TaskCommand, self._ask("exec", command, options))

    def start(self, command: str | Sequence[str], **options: Any) -> Pending:
        """Run one command, without waiting for it: wait() gives its end."""
        return Pending(self._actor.exec.remote(command, options))

    def read_file(self, path: str) -> bytes:
        """Give a file's bytes."""
        return cast(bytes, self._ask("read_file", path))

    def write_file(self, path: str, data: bytes | str, *, mode: str | None = None) -> None:
        """Make or replace a file, whole or not at all."""
        self._ask("write_file", path, data.encode() if isinstance(data, str) else data, mode)

    def list_files(self, path: str | None = None, *, recursive: bool = False) -> list[FileInfo]:
        """Tell what is in a directory."""
        return cast("list[FileInfo]", self._ask("list_files", path, recursive))

    def upload(self, source: str | os.PathLike[str], path: str) -> None:
        """Copy a file or a directory of this machine into the task, at path."""
        with tempfile.TemporaryDirectory(prefix="pyro-files-") as temporary:
            tar = Path(temporary, "tar")
            if os.path.isdir(source):
                pack(Path(source), tar)
                self._ask("put_tree", tar.read_bytes(), path)
            else:
                self._ask("put_file", Path(source).read_bytes(), os.stat(source).st_mode & 0o777, path)

    def download(self, path: str, target: str | os.PathLike[str]) -> None:
        """Copy a file or a directory of the task to this machine, as target, which is not there yet."""
        if os.path.lexists(target):
            raise FileExistsError(f"{os.fspath(target)!r} is there already")
        with tempfile.TemporaryDirectory(prefix=".pyro-files-", dir=Path(target).absolute().parent) as temporary:
            tar = Path(temporary, "tar")
            tar.write_bytes(self._ask("get_tree", path))
            unpack(tar, Path(temporary, "tree"))
            os.replace(Path(temporary, "tree", "it"), target)

    def fork(self, count: int = 1, *, timeout_seconds: float = 600) -> list[FleetTask]:
        """Make tasks that go on from where this one is, on its node, as soon as there is room for all of them there."""
        place, snapshot = cast("tuple[str, str]", self._ask("snapshot"))
        try:
            return self._fleet._place(count, timeout_seconds, node=place, snapshot=snapshot)
        finally:
            self._ask("delete_snapshot", snapshot)

    def status(self) -> Task:
        """Give the task's record."""
        return cast(Task, self._ask("status"))

    @property
    def node(self) -> str:
        """Ray's id of the node that it is on."""
        return cast(str, self._ask("place"))

    def delete(self) -> None:
        """End the task."""
        with contextlib.suppress(GuestLostError):
            self._ask("end")
        ray.kill(self._actor)
        self._fleet._forget(self)

    def __enter__(self) -> FleetTask:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.delete()

    def _ask(self, method: str, *arguments: Any) -> Any:
        return _got(getattr(self._actor, method).remote(*arguments))


class Pending:
    """A command that runs in a fleet's task."""

    def __init__(self, ref: Any) -> None:
        self._ref = ref

    def wait(self, timeout_seconds: float | None = None) -> TaskCommand:
        """Wait for its end; TimeoutError says that it runs on."""
        if timeout_seconds is not None and not ray.wait([self._ref], timeout=timeout_seconds)[0]:
            raise TimeoutError(f"the command has not ended within {timeout_seconds:g} s")
        return cast(TaskCommand, _got(self._ref))


class Fleet:
    """Makes tasks of one shape on a Ray cluster. Leaving its with block deletes them.

    options are those of create_task. Each task asks Ray for its processors and memory, and is an actor that ends with
    the driver; a task whose actor is gone, with its node or its driver, ends by its TTL, two minutes unless ttl_seconds
    says otherwise.
    """

    def __init__(self, environment: str, **options: Any) -> None:
        self._environment = environment
        self._options = options
        self._tasks: list[FleetTask] = []
        if not ray.is_initialized():
            ray.init(log_to_driver=False)

    def task(self, *, timeout_seconds: float = 600) -> FleetTask:
        """Make a task on some node that has room for it; wait for one if need be."""
        return self.tasks(1, timeout_seconds=timeout_seconds)[0]

    def tasks(self, count: int, *, timeout_seconds: float = 600) -> list[FleetTask]:
        """Make several tasks, all of them or none."""
        return self._place(count, timeout_seconds)

    def close(self) -> None:
        """Delete all tasks."""
        for task in list(self._tasks):
            task.delete()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _forget(self, task: FleetTask) -> None:
        if task in self._tasks:
            self._tasks.remove(task)

    def _place(self, count: int, timeout_seconds: float, *, node: str = "", snapshot: str = "") -> list[FleetTask]:
        wanted: dict[str, Any] = {
            "num_cpus": int(self._options.get("vcpu_count", 1)),
            "memory": (int(self._options.get("mem_mib", 1024)) + 64) << 20,
        }
        if node:
            wanted["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        actors = [_holder.options(**wanted).remote(self._environment, self._options, snapshot) for _ in range(count)]
        made = [actor.place.remote() for actor in actors]
        try:
            ready, _ = ray.wait(made, num_returns=count, timeout=timeout_seconds)
            if len(ready) < count:
                raise LimitReachedError(f"there was room for {len(ready)} of {count} tasks within {timeout_seconds:g} s")
            for ref in made:
                _got(ref)
        except BaseException:
            for actor in actors:
                actor.end.remote()
                actor.__ray_terminate__.remote()
            raise
        tasks = [FleetTask(self, actor) for actor in actors]
        self._tasks += tasks
        return tasks


class _Holder:
    """Holds one task, on the task's node."""

    def __init__(self, environment: str, options: Mapping[str, Any], snapshot: str) -> None:
        self._pyro = engine()
        ttl = int(options.get("ttl_seconds", LEASE_SECONDS))
        if snapshot:
            self._task = self._pyro.fork_task(snapshot=snapshot, ttl_seconds=ttl)["tasks"][0]["task_id"]
        else:
            self._task = new_task(self._pyro, environment, options)
        self._lease = contextlib.ExitStack()
        self._lease.enter_context(leased(self._pyro, self._task, ttl))

    def place(self) -> str:
        node: str = ray.get_runtime_context().get_node_id()
        return node

    def exec(self, command: str | list[str], options: Mapping[str, Any]) -> TaskCommand:
        return self._pyro.exec_task(self._task, command=command, **options)

    def read_file(self, path: str) -> bytes:
        data = bytearray()
        while True:
            got = self._pyro.read_file(self._task, path=path, offset_bytes=len(data), max_bytes=READ_BYTES)
            piece = base64.b64decode(got["content_base64"]) if got.get("content_base64") else got["content"].encode()
            data += piece
            if not piece or not got["truncated"]:
                return bytes(data)

    def write_file(self, path: str, data: bytes, mode: str | None) -> None:
        self._pyro.write_file(self._task, path=path, content_base64=base64.b64encode(data).decode(), mode=mode)

    def list_files(self, path: str | None, recursive: bool) -> list[FileInfo]:
        return self._pyro.list_files(self._task, path=path, recursive=recursive)["files"]

    def put_file(self, data: bytes, mode: int, path: str) -> None:
        with scratch() as place:
            (place / "file").write_bytes(data)
            (place / "file").chmod(mode)
            self._pyro.upload(self._task, host_path=place / "file", path=path)

    def put_tree(self, tar: bytes, path: str) -> None:
        with scratch() as place:
            (place / "tar").write_bytes(tar)
            unpack(place / "tar", place / "tree")
            self._pyro.upload(self._task, host_path=place / "tree", path=path)

    def get_tree(self, path: str) -> bytes:
        with scratch() as place:
            (place / "tree").mkdir()
            self._pyro.download(self._task, path=path, host_path=place / "tree" / "it")
            pack(place / "tree", place / "tar")
            return (place / "tar").read_bytes()

    def snapshot(self) -> tuple[str, str]:
        return self.place(), self._pyro.snapshot_task(self._task)["snapshot_id"]

    def delete_snapshot(self, snapshot: str) -> None:
        self._pyro.delete_snapshot(snapshot)

    def status(self) -> Task:
        return self._pyro.status_task(self._task)

    def end(self) -> None:
        self._lease.close()


_holder: Any = ray.remote(_Holder)


def _got(ref: Any) -> Any:
    """Give an actor's answer, or raise what went wrong as it would be raised on this machine."""
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as e:
        if isinstance(e.cause, PyroError):
            raise e.cause from None
        raise
    except ray.exceptions.RayActorError as e:
        raise GuestLostError(f"the task's worker is lost: {str(e).splitlines()[0]}") from None
