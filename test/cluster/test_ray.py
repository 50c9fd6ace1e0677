"""Jobs on a real Ray cluster of several nodes on this machine, each with a state directory of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import supervisors
from ray_nodes import JOBS, OPTIONS, World, wait_for

import pyro_mcp.ray as cluster_jobs


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((output / "results").glob("*.json"))]


def test_results_and_failures(world: World, tmp_path: Path) -> None:
    said: list[str] = []
    jobs = [{"n": n} for n in range(6)]
    command = 'read -r job; echo "$job"; case $job in *3*) exit 3 ;; esac'
    results = list(cluster_jobs.map(
        jobs, command=command, output=tmp_path / "run", ordered=True, on_summary=said.append, **OPTIONS,
    ))
    assert [r.index for r in results] == list(range(6))
    assert [json.loads(r.stdout) for r in results] == jobs
    assert [r.failure for r in results] == ["", "", "", "exit_status", "", ""]
    assert "6 of 6 jobs done, 5 as they should" in said[0] and "ended with 3" in said[0]

    def prepared(pyro: Any, task: str, job: Any) -> int:
        pyro.exec_task(task, command=f"echo {job} >f")
        return int(pyro.exec_task(task, command="cat f")["stdout"]) * 2

    output = tmp_path / "functions"
    values = cluster_jobs.map([1, 2], function=prepared, output=output, ordered=True, **OPTIONS)
    assert [r.value for r in values] == [2, 4]
    assert world.left("node0") == world.left("node1") == []


def test_an_url(world: World, tmp_path: Path) -> None:
    """Records and files by fsspec, and a second run of a longer list."""
    output = f"file://{tmp_path}/run"
    for jobs, resumed in (([1, 2], 0), ([1, 2, 3], 2)):
        results = list(cluster_jobs.map(
            jobs, command="cat >/workspace/out", files=["/workspace/out"], output=output, **OPTIONS))
        assert [r.ok for r in results] == [True] * len(jobs), results
        assert sum(r.resumed for r in results) == resumed
        for r in results:
            r.unpack(tmp_path / str(len(jobs)) / r.key)
            assert (tmp_path / str(len(jobs)) / r.key / "workspace" / "out").read_text() == f"{r.job}\n"


def test_a_node_is_lost(world: World, tmp_path: Path) -> None:
    jobs = [{"n": n} for n in range(JOBS)]
    seen = []
    for result in cluster_jobs.map(jobs, command="cat", output=tmp_path / "run", **OPTIONS):
        seen.append(result)
        if len(seen) == JOBS // 4:
            world.cluster.remove_node(world.nodes[0], allow_graceful=False)
    assert sorted(r.index for r in seen) == list(range(JOBS)), "each job once"
    assert all(r.ok for r in seen), [r for r in seen if not r.ok][:1]
    assert sorted(r["index"] for r in records(tmp_path / "run")) == list(range(JOBS))
    wait_for("nothing is left on the node that lives", lambda: not world.left("node1"))
    wait_for("nothing lives of the node that was lost", lambda: not supervisors(tmp_path / "node0"))


def test_the_driver_is_killed(world: World, tmp_path: Path) -> None:
    driver = Path(__file__).with_name("driver.py")
    words = [sys.executable, str(driver), world.cluster.address, str(tmp_path / "run"), str(JOBS)]
    first = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert first.stdout
    done = {first.stdout.readline().split()[0] for _ in range(JOBS // 4)}
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    lines = [line.split() for line in second.stdout.splitlines()]
    assert len({line[0] for line in lines}) == len(lines) == JOBS, "each job once"
    assert {line[1] for line in lines} == {"ok"}
    assert done <= {line[0] for line in lines if line[2] == "earlier"}, "what was done is not done again"
    wait_for("nothing is left", lambda: not world.left("node0") and not world.left("node1"))
