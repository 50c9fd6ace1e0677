"""Calls into real guests."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp import InvalidArgumentError, InvalidStateError, NotFoundError, Pyro
from pyro_mcp._jobs import earlier, plan_of, work_of
from pyro_mcp._perform import engine as worker_engine
from pyro_mcp._perform import engine_of, perform
from pyro_mcp._prepared import discard
from pyro_mcp._storage import storage

ENVIRONMENT = os.environ.get("PYRO_TEST_ENVIRONMENT", "debian:12")


@pytest.fixture(scope="module")
def engine(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pyro]:
    """A pyro with the cache that the tests share."""
    with Pyro(binary=binary, state_dir=tmp_path_factory.mktemp("state")) as p:
        yield p


def test_input_of_50_mib(engine: Pyro) -> None:
    stdin = io.BytesIO(b"x" * (50 << 20))
    result = engine.run_in_vm(ENVIRONMENT, command="wc -c", stdin=stdin, timeout_seconds=120)
    assert (result["stdout"].strip(), result["exit_code"]) == (str(50 << 20), 0)


def test_input_that_is_not_read_to_its_end(engine: Pyro) -> None:
    result = engine.run_in_vm(ENVIRONMENT, command="head -c 5", stdin="abcdefgh" * (1 << 20), timeout_seconds=60)
    assert (result["stdout"], result["exit_code"]) == ("abcde", 0)


def test_text_and_bytes_as_input(engine: Pyro) -> None:
    task = engine.create_task(ENVIRONMENT)["task_id"]
    try:
        for stdin in ("größe", "größe".encode()):
            assert engine.exec_task(task, command="cat", stdin=stdin)["stdout"] == "größe"
    finally:
        engine.delete_task(task)


def test_a_task_is_found_by_name_label_and_beginning(engine: Pyro) -> None:
    task = engine.create_task(ENVIRONMENT, name="review", metadata={"project": "site"})["task_id"]
    try:
        assert [t["name"] for t in engine.list_tasks(labels={"project": "site"})["tasks"]] == ["review"]
        assert engine.list_tasks(labels={"project": "other"})["tasks"] == []
        for word in ("review", task[:-2], task.removeprefix("task-")):
            done = engine.exec_task(word, command="echo found")
            assert (done["stdout"], done["task_id"]) == ("found\n", task)
        with pytest.raises(InvalidStateError, match="taken"):
            engine.create_task(ENVIRONMENT, name="review")
    finally:
        engine.delete_task("review")


def test_output_is_iterated_over(engine: Pyro) -> None:
    with engine.task(ENVIRONMENT) as task:
        # A character in two pieces, one that is no UTF-8, and one that is never finished.
        command = r"printf '\303'; sleep 0.2; printf '\266\n'; printf '\377\303' >&2; exit 3"
        with task.stream(command) as run:
            with pytest.raises(InvalidStateError, match="to its end"):
                assert run.result
            pieces = list(run)
            assert run.result["exit_code"] == 3
        assert "".join(text for name, text in pieces if name == "stdout") == "ö\n"
        assert "".join(text for name, text in pieces if name == "stderr") == "\ufffd\ufffd"
        with engine.stream(task.id, "echo $$; exec sleep 600", timeout_seconds=0) as run:
            pid = next(run)[1]
        assert task.exec(f"test -e /proc/{pid.strip()}")["exit_code"] == 1, "it runs on"
        assert list(run) == []
        with pytest.raises(InvalidArgumentError, match="timeout_seconds"), task.stream("true", timeout_seconds=-1) as run:
            list(run)
        assert list(run) == [], "the error is raised once"


def test_a_vm_is_gone_after_its_block(engine: Pyro) -> None:
    with engine.vm(ENVIRONMENT) as vm:
        assert vm.record["state"] == "started"
        assert vm.exec(["echo", "in a VM"])["stdout"] == "in a VM\n"
    with engine.vm(ENVIRONMENT) as unused:
        pass
    alive = {each["vm_id"] for each in engine.list_vms()["vms"]}
    assert alive.isdisjoint({vm.id, unused.id})


def test_files_of_a_task(engine: Pyro, tmp_path: Path) -> None:
    with engine.task(ENVIRONMENT) as task:
        task.files.write("sub/note", "größe", mode="755")
        assert task.files.read("sub/note") == "größe"
        task.exec("head -c 5M /dev/urandom >large; sha256sum <large >sum")
        large = task.files.read_bytes("large")
        assert hashlib.sha256(large).hexdigest() == task.files.read("sum").split()[0]
        with pytest.raises(InvalidArgumentError, match="more than 1000 bytes"):
            task.files.read_bytes("large", max_bytes=1000)
        task.files.write("copy", large)
        assert task.exec("cmp large copy && stat -c %a sub/note")["stdout"] == "755\n"
        assert [f["path"] for f in task.files.list("sub")] == ["/workspace/sub/note"]
        task.files.download("sub", tmp_path / "sub")
        task.files.upload(tmp_path / "sub", "again")
        assert task.files.read("again/note") == "größe"
        with pytest.raises(NotFoundError):
            task.files.read("none")


@pytest.fixture
def worker(binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process does jobs as a worker on a cluster does, with a state directory of its own."""
    monkeypatch.setenv("PYRO_BINARY", binary)
    monkeypatch.setenv("PYRO_STATE_DIR", str(tmp_path / "state"))
    engine_of.cache_clear()  # an engine of this process would be another test's
    yield tmp_path
    worker_engine().close()
    engine_of.cache_clear()


def left(state: Path, of: str) -> list[str]:
    """What is there, but for a template that is made beside."""
    return [p.name for p in (state / "state" / of).glob("*") if not p.name.startswith((".", "build-"))]


def test_a_job_leaves_its_record_and_files(worker: Path) -> None:
    command = "read -r job; mkdir out; echo $job >out/job; exit 3"
    plan = plan_of(
        ENVIRONMENT, command, None, worker / "run", ["out", "/workspace/none"], 60,
        {"mem_mib": 512, "workdir": "/workspace"})
    work = work_of([{"n": 1}], None)
    for _ in range(2):  # the second attempt is the whole of it again
        result = perform(plan, work[0])
        assert (result.failure, result.exit_code, result.missing) == ("exit_status", 3, ["/workspace/none"])
        assert result.environment
        result.unpack(worker / "files")
        assert (worker / "files" / "out" / "job").read_text() == '{"n": 1}\n'
        shutil.rmtree(worker / "files")
        assert os.listdir(worker / "run" / "files") == [f"{work[0].key}.tar"]
    done, missing = earlier(storage(plan.output), work)
    assert [r.exit_code for r in done] == [3] and not missing
    assert left(worker, "vms") == []


def test_attempts_begin_where_preparing_ended(worker: Path) -> None:
    prepare = "cat /proc/sys/kernel/random/uuid >id"
    plan = plan_of(ENVIRONMENT, "cat id; test ! -e mine && touch mine", None, worker / "run", ["id"], 60,
                   {"mem_mib": 512}, prepare)
    results = [perform(plan, w) for w in work_of([1, 2], None)]
    assert [r.failure for r in results] == ["", ""], results
    assert len({r.stdout for r in results}) == 1, "prepared once"
    assert left(worker, "vms") == [] and len(left(worker, "snapshots")) == 1
    discard(worker_engine(), plan)
    assert left(worker, "snapshots") == left(worker, "prepared") == []
