"""Jobs a second on Ray nodes of this machine, beside the same loop without Ray, and what a lost node costs.

Run it by make bench-cluster, with debian:12 installed:  bench/cluster.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from client import BINARY, ROOT

sys.path.insert(0, str(ROOT / "python" / "src"))
sys.path.insert(0, str(ROOT / "test" / "cluster"))

from ray_nodes import World

import pyro_mcp.ray as cluster
from pyro_mcp import Pyro

SHAPE = {"environment": "debian:12", "mem_mib": 512, "timeout_seconds": 60}
JOBS = {0: 16, 1: 12, 3: 8}  # how many of which length, in seconds


def commands(seconds: int) -> list[str]:
    return [f"sleep {seconds}; echo {n}" for n in range(JOBS[seconds])]


def with_ray(directory: Path, nodes: int, seconds: int) -> float:
    """Do the jobs on a cluster; give jobs a second. The nodes are warm: each has done a job."""
    world = World(directory, nodes=nodes)
    try:
        def spread(what: list[str], output: str) -> float:
            began = time.monotonic()
            results = cluster.map(what, command=lambda job: job, output=directory / output, progress=False, **SHAPE)
            assert all(r.ok for r in results)
            return len(what) / (time.monotonic() - began)

        spread([f"echo warm {n}" for n in range(2 * nodes)], "warm")
        return spread(commands(seconds), "measured")
    finally:
        world.close()


def without_ray(directory: Path, nodes: int, seconds: int) -> float:
    """Do the same with one loop for each node, and nothing between it and the engine."""
    engines = [Pyro(binary=BINARY, state_dir=directory / f"node{n}") for n in range(nodes)]
    try:
        def loop(engine: Pyro, what: list[str]) -> None:
            for command in what:
                assert engine.run_in_vm(command=command, **SHAPE)["exit_code"] == 0

        def spread(what: list[str]) -> float:
            began = time.monotonic()
            with ThreadPoolExecutor(nodes) as pool:
                list(pool.map(loop, engines, [what[n::nodes] for n in range(nodes)]))
            return len(what) / (time.monotonic() - began)

        spread(["echo warm"] * nodes)
        return spread(commands(seconds))
    finally:
        for engine in engines:
            engine.close()


def lost_node(directory: Path) -> tuple[float, int]:
    """End one of two nodes after a third of the jobs; give how long the survivor took for a job, and a retry's cost."""
    world = World(directory, nodes=2)
    try:
        said: list[str] = []
        jobs = list(range(15))
        ends = []
        for _ in cluster.map(jobs, command="sleep 1", output=directory / "run", progress=False,
                             on_summary=said.append, **SHAPE):
            ends.append(time.monotonic())
            if len(ends) == len(jobs) // 3:
                world.cluster.remove_node(world.nodes[0], allow_graceful=False)
        assert len(ends) == len(jobs)
        again = [line for line in said[0].splitlines() if line.startswith("tried again")]
        longest = max(b - a for a, b in zip(ends, ends[1:], strict=False))
        return longest, int(again[0].rpartition(" ")[2]) if again else 0
    finally:
        world.close()


def measured(what: Callable[[Path, int, int], float], nodes: int, seconds: int) -> float:
    with tempfile.TemporaryDirectory(prefix="pyro-bench-") as directory:
        return what(Path(directory), nodes, seconds)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    print("nodes  job, s  jobs/s with Ray  without Ray  overhead")
    for nodes in (1, 2):
        for seconds in JOBS:
            figures: dict[Callable[[Path, int, int], float], list[float]] = {with_ray: [], without_ray: []}
            for _ in range(rounds):  # in turns, so that a change of the machine's load meets both
                for what, rates in figures.items():
                    rates.append(measured(what, nodes, seconds))
            ray_, loop = (statistics.median(rates) for rates in figures.values())
            print(f"{nodes:5}  {seconds:6}  {ray_:15.2f}  {loop:11.2f}  {100 * (loop / ray_ - 1):7.0f}%", flush=True)
    with tempfile.TemporaryDirectory(prefix="pyro-bench-") as directory:
        longest, again = lost_node(Path(directory))
    print(f"a node of two lost: {again} jobs done again, {longest:.1f} s at most between two results (jobs of 1 s)")


if __name__ == "__main__":
    main()
