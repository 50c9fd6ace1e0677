"""What VMs cost when there are many, and what computing costs inside: memory against the number of VMs, and the same work
on the host, under runc, under runsc and in a guest.

python3 bench/work.py [memory] [work] adds to bench/results.json, both if neither is named. BENCH_ROUNDS (default 5 here) is how often
each work is done; all runners take turns. Times are measured inside, so that no start is in them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from client import BINARY, ROOT, memory, tree
from start import ENVIRONMENT, bundle, host, own_state, pyro, spread, supervisor

COUNTS = (1, 5, 10, 20, 35, 50)
SMALL = "256"  # MiB of memory for each of many

# Each prints the seconds that it took. The files are made where the runner has its writable disk.
WORK = {
    "python loop": "n = 0\nfor i in range(2_000_000):\n    n += i * i % 7",
    "SHA-256 of 128 MB": "import hashlib\nhashlib.sha256(bytes(128_000_000))",
    "3,000 small files": (
        "import os, shutil\nos.makedirs('/var/tmp/w')\n"
        "for i in range(3000):\n    open(f'/var/tmp/w/{i}', 'w').write('x' * 1000)\n"
        "n = sum(len(open(f'/var/tmp/w/{i}').read()) for i in range(3000))\nshutil.rmtree('/var/tmp/w')"
    ),
    "git commit of 1,000 files": (
        "import os, shutil, subprocess\nos.makedirs('/var/tmp/g')\n"
        "for i in range(1000):\n    open(f'/var/tmp/g/{i}', 'w').write(f'{i}' * 100)\n"
        "g = ['git', '-C', '/var/tmp/g', '-c', 'user.name=b', '-c', 'user.email=b@example.org', '-c', 'gc.auto=0']\n"
        "for c in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'all']):\n    subprocess.run(g + c, check=True)\n"
        "shutil.rmtree('/var/tmp/g')"
    ),
    "100 processes": (
        "import subprocess\nfor i in range(100):\n    subprocess.run(['/bin/true'], check=True)"
    ),
}


# What a run before this one left, if it was broken off.
CLEAN = "for d in ('w', 'g'):\n    shutil.rmtree('/var/tmp/' + d, ignore_errors=True)"


def program(work: str) -> str:
    return f"import shutil, time\n{CLEAN}\nt = time.perf_counter()\n{work}\nprint('took', time.perf_counter() - t)"


def took(out: str) -> float:
    return float(out.rsplit("took", 1)[1])


def runners(scratch: Path) -> dict[str, Callable[[str], float]]:
    """The ways to do some work on the environment's root file system, each telling the seconds."""
    place = bundle(scratch)
    root = place / "rootfs"
    config = place / "config.json"

    def command(*words: str) -> Callable[[str], float]:
        def once(work: str) -> float:
            done = subprocess.run(
                [*words, "python3", "-c", program(work)], check=True, stdout=subprocess.PIPE, text=True
            )
            return took(done.stdout)

        return once

    def contained(*words: str) -> Callable[[str], float]:
        def once(work: str) -> float:
            spec = json.loads(config.read_text())
            spec["process"].update(terminal=False, args=["python3", "-c", program(work)])
            spec["root"]["readonly"] = False
            config.write_text(json.dumps(spec))
            done = subprocess.run(
                words, check=True, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
            return took(done.stdout)

        return once

    # The host itself, with its kernel and disk, but on the same files: bwrap adds nothing to what computes.
    found = {}
    if shutil.which("bwrap"):
        found["host"] = command("bwrap", "--bind", str(root), "/", "--dev", "/dev", "--proc", "/proc")
    if config.is_file():
        found["runc"] = contained("runc", "run", "pyro-bench")
        if shutil.which("runsc"):
            found["runsc"] = contained("runsc", "--network=none", "run", "pyro-bench")
    found["pyro"] = command(BINARY, "-q", "run", ENVIRONMENT, "--timeout-seconds", "900", "--")
    return found


def working(rounds: int, scratch: Path) -> dict[str, dict[str, dict[str, float]]]:
    ways = runners(scratch)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name, work in WORK.items():
        times: dict[str, list[float]] = {each: [] for each in ways}
        for _ in range(rounds):
            for each, once in ways.items():
                with suppress(subprocess.CalledProcessError):  # what does not work here is left out
                    times[each].append(once(work))
        results[name] = {each: spread(values) for each, values in times.items() if values}
        shown = ", ".join(f"{each} {t['median']:.2f} s" for each, t in results[name].items())
        print(f"{name}: {shown}", file=sys.stderr)
    return results


def many() -> dict[str, dict[str, float]]:
    """The proportional memory of so many tasks in MiB, all their processes counted, and what the least of them takes."""
    pyro("-q", "env", "warm", ENVIRONMENT, "--mem-mib", SMALL)
    tasks: list[str] = []
    results: dict[str, dict[str, float]] = {}
    try:
        for count in COUNTS:
            while len(tasks) < count:
                made = pyro(
                    "-q", "task", "create", ENVIRONMENT, "--mem-mib", SMALL, "--ttl-seconds", "0", "--json"
                )
                tasks.append(json.loads(made)["task_id"])
                pyro("task", "exec", tasks[-1], "--", "true")
            each = [sum(memory(pid, "Pss") for pid in tree(supervisor(task))) / 1024 for task in tasks]
            results[str(count)] = {"total": sum(each), "median": statistics.median(each)}
            print(f"{count} alive: {sum(each):.0f} MiB", file=sys.stderr)
    finally:
        for task in tasks:
            pyro("-q", "task", "delete", task)
    return results


def main() -> None:
    parts = sys.argv[1:] or ["memory", "work"]
    out = ROOT / "bench" / "results.json"
    results: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    with own_state() as scratch:
        results["host"] = host()
        pyro("-q", "env", "pull", ENVIRONMENT)
        pyro("-q", "env", "warm", ENVIRONMENT)
        if "memory" in parts:
            results["memory_mib"] = many()
        if "work" in parts:
            results["work_s"] = working(int(os.environ.get("BENCH_ROUNDS", "5")), scratch)
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
