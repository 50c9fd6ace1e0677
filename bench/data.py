"""What moving data costs: 200 MB of a command's output to its caller, beside runsc, runc and a pipe of the host's, and 10,000
files as a task's seed, beside tar on the host.

python3 bench/data.py, with debian:12 installed. BENCH_ROUNDS (default 5 here) is how often; all take turns. It adds to
bench/results.json.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client import BINARY, ROOT, timed
from start import ENVIRONMENT, bundle, host, in_turns, own_state, pyro, spread

MEGABYTES, FILES = 200, 10_000
PRINT = ("head", "-c", f"{MEGABYTES}000000", "/dev/zero")


def swallow(words: list[str]) -> Callable[[], float]:
    """Milliseconds until all of a command's output has come through a pipe."""

    def once() -> float:
        def read() -> None:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            assert process.stdout is not None
            count = 0
            while piece := process.stdout.read1(1 << 20):
                count += len(piece)
            if process.wait() != 0 or count != MEGABYTES * 1_000_000:
                sys.exit(f"{words[0]}: {count} bytes, exit status {process.returncode}")

        return timed(read)

    return once


def contained(place: Path) -> dict[str, Callable[[], float]]:
    config = place / "config.json"
    if not config.is_file():
        return {}
    spec = json.loads(config.read_text())
    spec["process"].update(terminal=False, args=list(PRINT))
    config.write_text(json.dumps(spec))
    ways = {"runsc": ["runsc", "--network=none"], "runc": ["runc"]}
    return {
        name: swallow([*words, "run", "-bundle", str(place), "pyro-data"])
        for name, words in ways.items()
        if shutil.which(words[0])
    }


def make_tree(path: Path) -> None:
    for i in range(FILES):
        directory = path / f"{i // 100:03}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{i:05}.txt").write_bytes(os.urandom(1000))


def create(*words: str) -> float:
    made: list[str] = []
    took = timed(lambda: made.append(pyro("-q", "task", "create", ENVIRONMENT, "--json", *words)))
    pyro("-q", "task", "delete", json.loads(made[0])["task_id"])
    return took


def output(rounds: int, scratch: Path) -> dict[str, Any]:
    task = json.loads(pyro("-q", "task", "create", ENVIRONMENT, "--json"))["task_id"]
    try:
        ways = {"pyro": swallow([BINARY, "task", "exec", task, "--timeout-seconds", "300", "--", *PRINT])}
        ways |= {"host": swallow(list(PRINT))} | contained(bundle(scratch))
        times = in_turns(rounds, ways)
    finally:
        pyro("-q", "task", "delete", task)
    return {name: spread([MEGABYTES * 1000 / each for each in values]) for name, values in times.items()}


def seeding(rounds: int, scratch: Path) -> dict[str, Any]:
    tree, copy = scratch / "tree", scratch / "copy"
    make_tree(tree)

    def tar() -> float:
        copy.mkdir()
        took = timed(lambda: subprocess.run(f"tar -C {tree} -c . | tar -C {copy} -x", shell=True, check=True))
        shutil.rmtree(copy)
        return took

    times = in_turns(
        rounds, {"empty": create, "pyro": lambda: create("--source-path", str(tree)), "host": tar}
    )
    seeded = [
        max(whole - empty, 1) / 1000 for whole, empty in zip(times["pyro"], times["empty"], strict=True)
    ]
    return {"pyro": spread(seeded), "host": spread([each / 1000 for each in times["host"]])}


def main() -> None:
    rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
    out = ROOT / "bench" / "results.json"
    results: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    with own_state() as scratch:
        results["host"] = host()
        pyro("-q", "env", "pull", ENVIRONMENT)
        pyro("-q", "env", "warm", ENVIRONMENT)
        results["output_mb_s"] = output(rounds, scratch)
        results["seed_s"] = seeding(rounds, scratch)
    for name, each in results["output_mb_s"].items():
        print(f"{MEGABYTES} MB of output, {name}: {each['median']:.0f} MB/s")
    for name, each in results["seed_s"].items():
        print(f"{FILES} files seeded, {name}: {each['median']:.2f} s")
    out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
