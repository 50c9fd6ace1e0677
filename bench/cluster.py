"""Jobs a second on Ray nodes of this machine, beside the same loop without Ray, and what a lost node costs.

Run it by make bench-cluster, with debian:12 installed:  bench/cluster.py [ROUNDS]
The figures are medians of the rounds, three if nothing is said. make has the guests in gVisor, whose starts leave the
machine to Ray; PYRO_ISOLATION= make bench-cluster has them in QEMU, and takes twice as long.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from client import BINARY, ROOT

sys.path.insert(0, str(ROOT / "python" / "src"))
sys.path.insert(0, str(ROOT / "test" / "cluster"))

from ray_nodes import World

import pyro_mcp.ray as cluster
from pyro_mcp import Pyro

SHAPE = {"environment": "debian:12", "mem_mib": 512, "timeout_seconds": 60}
JOBS = {0: 16, 1: 8, 3: 4}  # how many of which length, in seconds
Rates = Mapping[int, float]
Spread = Callable[[list[str]], None]


def commands(seconds: int) -> list[str]:
    return [f"sleep {seconds}; echo {n}" for n in range(JOBS[seconds])]


def rates_of(spread: Spread) -> Rates:
    """Give jobs a second by the jobs' length."""
    rates = {}
    for seconds in JOBS:
        what = commands(seconds)
        began = time.monotonic()
        spread(what)
        rates[seconds] = len(what) / (time.monotonic() - began)
    return rates


def on(directory: Path) -> Spread:
    """Give what does jobs on the cluster that there is."""
    runs = iter(range(1_000_000))

    def spread(what: list[str]) -> None:
        output = directory / "runs" / str(next(runs))
        assert all(r.ok for r in cluster.map(what, command=lambda job: job, output=output, progress=False, **SHAPE))

    return spread


def loops(engines: list[Pyro]) -> Spread:
    """Give what does the same with one loop for each node, and nothing between it and the engine."""
    def loop(engine: Pyro, what: list[str]) -> None:
        for command in what:
            assert engine.run_in_vm(command=command, **SHAPE)["exit_code"] == 0

    def spread(what: list[str]) -> None:
        with ThreadPoolExecutor(len(engines)) as pool:
            list(pool.map(loop, engines, [what[n :: len(engines)] for n in range(len(engines))]))

    return spread


def compare(directory: Path, nodes: int, rounds: int) -> None:
    """Measure both in turns, so that a change of the machine's load meets both. The nodes are warm: each has done jobs."""
    world = World(directory, nodes=nodes)
    engines = [Pyro(binary=BINARY, state_dir=directory / f"loop{n}") for n in range(nodes)]
    try:
        ways = on(directory), loops(engines)
        for spread in ways:
            spread([f"echo warm {n}" for n in range(2 * nodes)])
        measured: tuple[list[Rates], list[Rates]] = ([], [])
        for _ in range(rounds):
            for spread, rates in zip(ways, measured, strict=True):
                rates.append(rates_of(spread))
        for seconds in JOBS:
            ray_, loop = (statistics.median(r[seconds] for r in rates) for rates in measured)
            print(f"{nodes:5}  {seconds:6}  {ray_:15.2f}  {loop:11.2f}  {100 * (loop / ray_ - 1):7.0f}%", flush=True)
    finally:
        for engine in engines:
            engine.close()
        world.close()


def lost_node(directory: Path, rounds: int) -> None:
    """Do jobs of 1 s on two nodes, and then again, when one of them is ended after a third."""
    took: dict[bool, list[float]] = {False: [], True: []}
    agains, longest = [], []
    for n in range(rounds):
        world = World(directory / str(n), nodes=2)
        try:
            on(directory / str(n))([f"echo warm {n}" for n in range(4)])
            for lost, figures in took.items():
                said: list[str] = []
                began = time.monotonic()
                ends = [began]
                output = directory / str(n) / f"run-{lost}"
                for _ in cluster.map(list(range(15)), command="sleep 1", output=output, progress=False,
                                     on_summary=said.append, **SHAPE):
                    ends.append(time.monotonic())
                    if lost and len(ends) == 6:
                        world.cluster.remove_node(world.nodes[0], allow_graceful=False)
                figures.append(ends[-1] - began)
            again = [line for line in said[0].splitlines() if line.startswith("tried again")]
            agains.append(int(again[0].rpartition(" ")[2]) if again else 0)
            longest.append(max(b - a for a, b in zip(ends, ends[1:], strict=False)))
        finally:
            world.close()
    whole, broken = statistics.median(took[False]), statistics.median(took[True])
    print(f"15 jobs of 1 s on two nodes: {whole:.1f} s; one node lost after 5: {broken:.1f} s (10 left for one node), "
          f"{statistics.median(agains):.0f} done again, {statistics.median(longest):.1f} s at most between two results")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"guests in {os.environ.get('PYRO_ISOLATION') or 'QEMU'}, medians of {rounds}")
    print("nodes  job, s  jobs/s with Ray  without Ray  overhead")
    for nodes in (1, 2):
        with tempfile.TemporaryDirectory(prefix="pyro-bench-") as directory:
            compare(Path(directory), nodes, rounds)
    with tempfile.TemporaryDirectory(prefix="pyro-bench-") as directory:
        lost_node(Path(directory), rounds)


if __name__ == "__main__":
    main()
