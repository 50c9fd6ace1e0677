"""What a run of many jobs keeps, without the jobs and without a cluster."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pyro_mcp._jobs import Result, Work, earlier, plan_of, work_of
from pyro_mcp._scratch import scratch
from pyro_mcp._storage import pack, storage, unpack
from pyro_mcp._tally import Tally


def test_objects_are_replaced_whole(tmp_path: Path) -> None:
    store = storage(str(tmp_path / "run"))
    assert store.read("results/a") is None
    assert store.names("results") == set()
    store.write("results/a", b"1")
    store.write("results/a", b"22")
    assert store.read("results/a") == b"22"
    with pytest.raises(FileNotFoundError):
        store.put(tmp_path / "missing", "results/a")
    (tmp_path / "new").write_bytes(b"333")
    assert store.put(tmp_path / "new", "results/a") == str(tmp_path / "run" / "results" / "a")
    assert os.listdir(tmp_path / "run" / "results") == ["a"], "nothing half written stays"
    store.get("results/a", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"333"


def test_a_tree_comes_back(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "d" / "empty").mkdir(parents=True)
    (tree / "d" / "run").write_text("x")
    (tree / "d" / "run").chmod(0o755)
    os.symlink("d", tree / "to-d")
    os.symlink("/usr/bin/python3", tree / "outside")
    pack(tree, tmp_path / "one.tar")
    pack(tree, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    unpack(tmp_path / "one.tar", tmp_path / "back")
    assert sorted(str(p.relative_to(tmp_path / "back")) for p in (tmp_path / "back").rglob("*")) == [
        "d", "d/empty", "d/run", "outside", "to-d"]
    assert os.stat(tmp_path / "back" / "d" / "run").st_mode & 0o111
    assert os.readlink(tmp_path / "back" / "outside") == "/usr/bin/python3"


def test_a_tar_that_leads_outside(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises((tarfile.TarError, ValueError)):
        unpack(tmp_path / "bad.tar", tmp_path / "back")
    assert not (tmp_path / "outside").exists()


def test_a_killed_worker_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_STATE_DIR", str(tmp_path))
    program = """if True:
        import os, sys
        from pyro_mcp._scratch import scratch
        with scratch() as place:
            (place / "deep" / "closed").mkdir(parents=True)
            (place / "deep" / "closed" / "file").write_text("much")
            (place / "deep").chmod(0)
            print(place, flush=True)
            sys.stdin.read()
    """
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        place = Path(worker.stdout.readline().strip())
        with scratch() as mine:
            assert mine.is_dir() and mine != place
            assert place.is_dir(), "a worker that lives keeps its files"
        worker.kill()
    assert place.is_dir()
    with scratch() as mine:
        assert sorted(p.name for p in (tmp_path / "files").iterdir()) == [mine.name, f"{mine.name}.lock"]
    assert not list((tmp_path / "files").iterdir())


def test_keys() -> None:
    work = work_of([{"a": 1, "b": 2}, {"b": 2, "a": 1}, 3], None)
    assert work[1].key == work[0].key + "-2", "equal jobs are told apart"
    assert [w.key for w in work] == [w.key for w in work_of([{"b": 2, "a": 1}, {"a": 1, "b": 2}, 3], None)]
    with pytest.raises(ValueError, match="two jobs have the key"):
        work_of([1, 2], lambda job: "same")
    for bad in ("", ".x", "a/b", "x" * 121):
        with pytest.raises(ValueError, match="no file name"):
            work_of([1], lambda job, bad=bad: bad)  # type: ignore[misc]
    with pytest.raises(ValueError, match="key="):
        work_of([object()], None)


def test_plans_are_checked() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        plan_of("debian:12", None, None, "out", [], 30, {})
    for path in ("../x", "/", "a/../../b"):
        with pytest.raises(ValueError, match="does not name"):
            plan_of("debian:12", "true", None, "out", [path], 30, {})
    with pytest.raises(ValueError, match="a list"):
        plan_of("debian:12", "true", None, "out", "file", 30, {})


def test_a_second_run_does_what_is_missing(tmp_path: Path) -> None:
    store = storage(str(tmp_path))
    work = [Work(name, n, n) for n, name in enumerate(["done", "failed", "broke", "torn", "new"])]
    for key, failure in (("done", ""), ("failed", "exit_status"), ("broke", "exception")):
        store.write(f"results/{key}.json", json.dumps({"key": key, "failure": failure, "later_field": 1}).encode())
    store.write("results/torn.json", b'{"key"')
    done, left = earlier(store, work)
    assert [(r.key, r.resumed) for r in done] == [("done", True), ("failed", True)]
    assert [w.key for w in left] == ["broke", "torn", "new"]


def test_a_summary_says_what_failed_and_why() -> None:
    tally = Tally(8, show=False)
    tally.add(Result("old", 0, None, resumed=True))
    tally.add(Result("good", 1, None, host="a", seconds=1))
    for n in range(5):
        tally.add(Result(f"bad{n}", 2 + n, None, failure="exit_status", message=f"ended with {n}", host="b", seconds=1))
    tally.again()
    line = tally.line(tally._began + 10)
    assert "7 of 8" in line and "0.6 a second" in line and "5 exit_status" in line and "about 2 s left" in line
    summary = tally.summary()
    assert summary.startswith("7 of 8 jobs done, 2 as they should, 1 of them in an earlier run\n")
    assert "bad2: ended with 2\n  and 2 more" in summary and "5 on b, 1 on a" in summary
    assert "failures of machines: 1" in summary


def test_the_contract_names_what_there_is() -> None:
    """Read without importing them, since Ray and submitit come with extras."""
    root = Path(__file__).parents[2]
    contract = json.loads((root / "contract" / "contract.json").read_text())["python"]
    assert contract["job_result"] == [f.name for f in dataclasses.fields(Result)]
    for module, exports in contract["modules"].items():
        tree = ast.parse((root / "python" / "src" / Path(*module.split(".")).with_suffix(".py")).read_text())
        given = next(n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__")
        assert sorted(ast.literal_eval(given)) == sorted(exports), module
        map_ = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "map")
        parameters = [a.arg for a in map_.args.args + map_.args.kwonlyargs]
        assert set(contract["map_parameters"]) <= set(parameters), module
