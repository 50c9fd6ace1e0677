"""What snapshots, forks, rollbacks and pauses cost, beside a warm run in the same minutes: medians of RUNS, what each is made of,
then memory and disk against the number of forks, drawn as docs/snapshots.svg. All figures go to bench/snapshots.json.

Run it from the root after make build, with debian:12 installed:  python3 bench/snapshots.py [RUNS [FORKS]]
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from client import BINARY, ROOT
from plot import Drawing, panel

ENVIRONMENT = "debian:12"
WRITTEN = 100_000_000


class Bench:
    def __init__(self, state: str) -> None:
        self.state = pathlib.Path(state)
        self.env = {**os.environ, "PYRO_STATE_DIR": state, "PYRO_MAX_ACTIVE_VMS": "80"}
        self.figures: dict[str, dict[str, Any]] = {}
        self.phases: dict[str, dict[str, float]] = {}
        self.many: list[dict[str, float]] = []

    def pyro(self, *words: str) -> str:
        done = subprocess.run([BINARY, "-q", *words], env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"pyro {' '.join(words)}: exit status {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def told(self, *words: str) -> tuple[str, list[tuple[str, float]]]:
        """The same with the phases that it tells of, in their order, in milliseconds."""
        env = {**self.env, "PYRO_LOG": "debug"}
        done = subprocess.run([BINARY, *words], env=env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"pyro {' '.join(words)}: exit status {done.returncode}: {done.stderr}")
        return done.stdout.strip(), [
            (name, float(ms)) for name, ms in re.findall(r'msg="([^"]+)".*? ms=([0-9.]+)', done.stderr)
        ]

    def report(self, name: str, values: list[float], unit: str, goal: float | None = None) -> None:
        median = round(statistics.median(values), 1)
        self.figures[name.strip()] = {"median": median, "unit": unit, "goal": goal, "runs": len(values)}
        print(
            f"{name:58} {median:9.1f} {unit:4} goal: {'-' if goal is None else f'{goal:.0f}'}",
            flush=True,
        )

    def task(self, *options: str) -> str:
        return self.pyro("task", "create", ENVIRONMENT, "--ttl-seconds", "0", *options)

    def snapshot(self, task: str) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.pyro("task", "snapshot", task, "--json"))
        return made

    def delete(self, *tasks: str) -> None:
        self.pyro("task", "delete", *tasks)

    def processes(self) -> list[int]:
        """The supervisors of this state directory and their QEMUs."""
        supervisors, found = set(), []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if f"\0supervise\0{self.state}".encode() in path.read_bytes():
                    supervisors.add(int(path.parent.name))
            except OSError:
                continue
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent in supervisors:
                found.append(int(path.parent.name))
        return [*supervisors, *found]

    def memory(self) -> tuple[float, float]:
        """What all of them take in MiB: proportionally, and each alone."""
        pss = private = 0
        for pid in self.processes():
            try:
                for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    name, _, rest = line.partition(":")
                    if name == "Pss":
                        pss += int(rest.split()[0])
                    elif name in ("Private_Clean", "Private_Dirty"):
                        private += int(rest.split()[0])
            except OSError:
                continue
        return pss / 1024, private / 1024

    def disk(self) -> float:
        """What the state directory takes on disk, in MiB, each file once."""
        seen: dict[int, int] = {}
        for path in self.state.rglob("*"):
            try:
                st = path.lstat()
            except OSError:
                continue
            seen[st.st_ino] = st.st_blocks * 512
        return sum(seen.values()) / (1 << 20)


def timed(do: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    result = do()
    return (time.monotonic() - began) * 1000, result


def pauses(b: Bench, runs: int) -> None:
    for where, path in (("a file", "blob"), ("memory alone", "/dev/shm/blob")):
        task = b.task()
        b.pyro("task", "exec", task, "--timeout-seconds", "120", "--", "sh", "-c",
               f"head -c {WRITTEN} /dev/urandom >{path}")  # fmt: skip
        stood, whole, parts = [], [], []
        for _ in range(runs):
            took, made = timed(lambda task=task: b.snapshot(task))  # type: ignore[misc]
            stood.append(float(made["pause_ms"]))
            whole.append(took)
            parts.append((made["memory_bytes"] / 1e6, made["disk_bytes"] / 1e6))
            b.pyro("snapshot", "delete", made["snapshot_id"])
        b.report(f"the source's pause, 100 MB written to {where}", stood, "ms", 150)
        b.report(f"  the whole snapshot of {where}, from the command line", whole, "ms")
        print(f"  made of: {parts[-1][0]:.0f} MB of pages and devices, {parts[-1][1]:.0f} MB of disk")
        b.delete(task)


def forks(b: Bench, runs: int) -> None:
    task = b.task()
    kept = b.snapshot(task)
    b.report("disk of a snapshot of an idle task", [kept["bytes"] / (1 << 20)], "MiB", 20)
    warm: list[float] = []
    living: list[float] = []
    kept_forks: list[float] = []
    for _ in range(runs):
        warm.append(timed(lambda: b.pyro("run", ENVIRONMENT, "--", "true"))[0])
        for source, into in ((task, living), (kept["snapshot_id"], kept_forks)):

            def answer(source: str = source) -> str:
                fork = b.pyro("task", "fork", source)
                b.pyro("task", "exec", fork, "--", "true")
                return fork

            took, fork = timed(answer)
            into.append(took)
            b.delete(fork)
    goal = 1.3 * statistics.median(warm)
    b.report("a warm run of true", warm, "ms")
    b.report("fork of a living task to its first answer, two commands", living, "ms", goal)
    b.report("fork of a snapshot to its first answer, two commands", kept_forks, "ms", goal)
    ten, each = [], []
    for _ in range(max(1, runs // 3)):
        before = b.memory()[1]
        took, made = timed(lambda: b.pyro("task", "fork", kept["snapshot_id"], "-n", "10").split())
        time.sleep(3)  # until they have come to rest
        ten.append(took)
        each.append((b.memory()[1] - before) / 10)
        b.delete(*made)
    b.report("ten forks at once", ten, "ms", 3000)
    b.report("  memory of its own of each while idle", each, "MiB", 45)
    chain, at = [], task
    links = [task]
    for _ in range(5):
        took, at = timed(lambda at=at: b.pyro("task", "fork", at))  # type: ignore[misc]
        chain.append(took)
        links.append(at)
    print("a fork of a fork of …, ms:", " ".join(f"{took:.0f}" for took in chain))
    b.delete(*links)


def back(b: Bench, runs: int) -> None:
    task = b.task()
    b.snapshot(task)
    rolled = [
        float(json.loads(b.pyro("task", "rollback", task, "--json"))["duration_ms"]) for _ in range(runs)
    ]
    b.report("rollback", rolled, "ms", 500)
    paused, resumed, left = [], [], []
    for _ in range(runs):
        paused.append(timed(lambda: b.pyro("task", "pause", task))[0])
        deadline = time.monotonic() + 5
        while b.processes() and time.monotonic() < deadline:
            time.sleep(0.02)
        left.append(b.memory()[1])
        resumed.append(timed(lambda: b.pyro("task", "resume", task))[0])
    b.report("pause, from the command line", paused, "ms")
    b.report("  memory that is left of it", left, "MiB", 0)
    b.report("resume, from the command line", resumed, "ms", 500)
    b.delete(task)


def made_of(b: Bench, runs: int) -> None:
    """The phases of each way, as PYRO_LOG=debug tells them: their supervisors were started with it."""
    seen: dict[str, list[list[tuple[str, float]]]] = {}

    def note(what: str, *words: str) -> str:
        out, phases = b.told(*words)
        seen.setdefault(what, []).append(phases)
        return out

    task = b.told("task", "create", ENVIRONMENT, "--ttl-seconds", "0")[0]
    for _ in range(runs):
        note("a warm run of true", "run", ENVIRONMENT, "--", "true")
        kept = note("task snapshot", "task", "snapshot", task)
        fork = note("task fork of a snapshot", "task", "fork", kept)
        note("  the fork's first command", "task", "exec", fork, "--", "true")
        note("task rollback", "task", "rollback", task, kept)
        b.told("task", "pause", task)
        note("task resume", "task", "resume", task)
        b.delete(fork)
        b.pyro("snapshot", "delete", kept)
    b.delete(task)
    for what, all_runs in seen.items():
        names = list(dict.fromkeys(name for phases in all_runs for name, _ in phases))
        medians = {
            name: statistics.median(sum(ms for n, ms in phases if n == name) for phases in all_runs)
            for name in names
        }
        b.phases[what.strip()] = medians
        print(f"{what}, ms: " + ", ".join(f"{name} {ms:.0f}" for name, ms in medians.items()), flush=True)


def many(b: Bench, most: int) -> None:
    # Memory that guests may use is promised to each: 50 of 1 GiB are more than many hosts have.
    task = b.task("--mem-mib", "384")
    kept = b.snapshot(task)["snapshot_id"]
    b.delete(task)
    points = []
    made: list[str] = []
    for n in [n for n in (1, 2, 5, 10, 20, 30, 40, 50) if n <= most]:
        made += b.pyro("task", "fork", kept, "-n", str(n - len(made))).split()
        time.sleep(3)
        points.append((n, b.memory()[0], b.disk()))
        print(
            f"{n:3} forks: {points[-1][1]:7.0f} MiB of memory, {points[-1][2]:7.0f} MiB of disk", flush=True
        )
    b.delete(*made)
    d = Drawing(296, "Forks of one snapshot: memory and disk")
    d.text(12, 22, "Idle forks of one snapshot", "t")
    d.text(12, 40, "of 384 MiB; supervisors and QEMU, proportional memory; the state directory, each file once", "s")
    panel(d, 70, "memory of all of them, MiB", "forks alive", [(float(n), m) for n, m, _ in points], "MiB")
    panel(d, 430, "disk of all of them, MiB", "forks alive", [(float(n), s) for n, _, s in points], "MiB")
    d.write("snapshots.svg")
    b.many = [{"forks": n, "memory_mib": round(m, 1), "disk_mib": round(s, 1)} for n, m, s in points]


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    state = tempfile.mkdtemp(prefix="pyro-bench-")
    b = Bench(state)
    try:
        b.pyro("env", "warm", ENVIRONMENT)
        pauses(b, runs)
        forks(b, runs)
        back(b, runs)
        made_of(b, max(1, runs // 2))
        if most > 0:
            many(b, most)
        data = {"figures": b.figures, "phases_ms": b.phases, "forks": b.many}
        (ROOT / "bench" / "snapshots.json").write_text(json.dumps(data, indent=2) + "\n")
    finally:
        listed = json.loads(b.pyro("task", "list", "--json"))
        ids = [t["task_id"] for t in listed.get("tasks", [])]
        if ids:
            b.delete(*ids)
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    main()
