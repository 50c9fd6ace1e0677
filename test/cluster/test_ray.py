"""Jobs on a real Ray cluster of several nodes on this machine, each with a state directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

import pyro_mcp.ray as cluster_jobs

JOBS = int(os.environ.get("PYRO_TEST_CLUSTER_JOBS", "40"))
OPTIONS: dict[str, Any] = {"environment": "debian:12", "mem_mib": 512, "progress": False}


class World:
    """A head that runs no jobs, and two nodes that do."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.nodes = [self.add_node(f"node{n}") for n in range(2)]
        self.cluster.wait_for_nodes()
        ray.init(address=self.cluster.address, log_to_driver=False)

    def add_node(self, name: str) -> Any:
        state = self.directory / name
        return self.cluster.add_node(num_cpus=1, memory=2 << 30, env_vars={"PYRO_STATE_DIR": str(state)})

    def left(self, name: str) -> list[str]:
        """What VMs a node still has."""
        try:
            return [vm for vm in os.listdir(self.directory / name / "vms") if not vm.startswith(".")]
        except FileNotFoundError:
            return []


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path)
    yield w
    ray.shutdown()
    w.cluster.shutdown()


def wait_for(what: str, true: Any, limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


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


def supervisors(state: Path) -> list[str]:
    """The processes that supervise VMs below a state directory."""
    found = []
    for proc in Path("/proc").iterdir():
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"supervise" in words and any(word.startswith(bytes(state)) for word in words):
            found.append(proc.name)
    return found
