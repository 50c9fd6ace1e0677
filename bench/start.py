"""How long it takes to get a machine: cold, from a template and from the pool, beside runc, runsc and bwrap.

python3 bench/start.py [PART...] measures some parts (starts, cold, kept, crowd) or all of them, each with what it is compared with.
The variants of a part take turns, so that a change of the machine's load meets all of them; BENCH_ROUNDS (default 15) is
how often. It prints a table and adds to bench/results.json.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from client import BINARY, MCP, ROOT, memory, timed, tree

ENVIRONMENT = "debian:12"
ALIVE = 20
WAIT = 60.0  # seconds for whatever has to happen in the background


def pyro(*words: str) -> str:
    done = subprocess.run(
        [BINARY, *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def until(what: str, condition: Callable[[], Any]) -> Any:
    limit = time.monotonic() + WAIT
    while not (value := condition()):
        if time.monotonic() > limit:
            raise TimeoutError(f"{what} did not come about within {WAIT:.0f} s")
        time.sleep(0.05)
    return value


def vms() -> Path:
    return Path(os.environ["PYRO_STATE_DIR"]) / "vms"


def record(vm: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((vm / "vm.json").read_text()))
    except (OSError, ValueError):
        return {}


def supervisor(vm: str) -> int:
    """The process that owns a VM: it has the VM's directory as its last argument."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        if b"supervise" in words and str(vms() / vm).encode() in words:
            return int(each.parent.name)
    raise LookupError(f"{vm} has no supervisor")


def quiet() -> None:
    """Waits until no VM is left, those that make a template in the background included."""
    until("the end of all VMs", lambda: not [d for d in vms().glob("*") if d.is_dir()])


class Cold:
    """Starts without a template: a cache that shares everything else with the real one."""

    def __init__(self, scratch: Path) -> None:
        self.cache = cache_of_its_own(scratch / "cold")

    def __call__(self) -> float:
        env = os.environ | {"PYRO_CACHE_DIR": str(self.cache)}
        took = timed(
            lambda: subprocess.run([BINARY, "-q", "run", ENVIRONMENT, "--", "true"], check=True, env=env)
        )
        quiet()  # it has a template made for the next one
        shutil.rmtree(self.cache / "templates", ignore_errors=True)
        return took


class Pooled:
    """vm_run of a server that keeps one VM ready."""

    def __init__(self) -> None:
        self.mcp = MCP("--pool", "1")
        self.mcp.run(environment=ENVIRONMENT, command="true")

    def __call__(self) -> float:
        until(
            "a VM in the pool",
            lambda: [d for d in vms().glob("pool-*") if record(d).get("state") == "started"],
        )
        time.sleep(1)  # it runs a command once, which its record does not tell
        took = timed(lambda: self.mcp.run(environment=ENVIRONMENT, command="true"))
        until("the next", lambda: [d for d in vms().glob("pool-*") if record(d).get("state") == "started"])
        time.sleep(1)
        return took


class Spared:
    """pyro run that takes the VM which the run before has left, started, and leaves the next."""

    def __call__(self) -> float:
        def ready() -> bool:
            waiting = [record(d) for d in vms().glob("pool-*") if (d / "spare").exists()]
            return any(each.get("state") == "started" for each in waiting)

        def run() -> None:
            pyro("-q", "run", "--keep-warm", "60", ENVIRONMENT, "--", "true")

        if not ready():
            run()
            until("a spare", ready)
        time.sleep(1)  # it runs a command once, which its record does not tell
        return timed(run)


class TaskExec:
    """One more command in a task that runs."""

    def __init__(self) -> None:
        self.task = json.loads(pyro("task", "create", ENVIRONMENT, "--ttl-seconds", "0", "--json"))["task_id"]
        pyro("task", "exec", self.task, "--", "true")

    def __call__(self) -> float:
        return timed(lambda: pyro("task", "exec", self.task, "--", "true"))

    def close(self) -> None:
        pyro("task", "delete", self.task)


def bundle(scratch: Path) -> Path:
    """A container bundle on the environment's own root file system; without config.json if runc is not there."""
    place = scratch / "bundle"
    root = place / "rootfs"
    place.mkdir()
    image = json.loads(pyro("env", "inspect", ENVIRONMENT, "--json"))["image_path"]
    subprocess.run(["fsck.erofs", f"--extract={root}", image], check=True, capture_output=True)
    if shutil.which("runc"):
        subprocess.run(["runc", "spec", "-b", str(place)], check=True)
    return place


def others(scratch: Path) -> dict[str, Callable[[], float]]:
    """The tools to compare with, as far as they are installed, on the environment's own root file system."""
    place = bundle(scratch)
    root, config = place / "rootfs", place / "config.json"
    found: dict[str, Callable[[], float]] = {}
    if config.is_file():
        spec = json.loads(config.read_text())
        spec["process"].update(terminal=False, args=["/bin/true"])
        config.write_text(json.dumps(spec))

    def command(*words: str) -> Callable[[], float]:
        return lambda: timed(lambda: subprocess.run(words, check=True, cwd=place, stdin=subprocess.DEVNULL))

    if shutil.which("runc"):
        found["runc run"] = command("runc", "run", "pyro-bench")
    if shutil.which("runsc") and shutil.which("runc"):
        found["runsc run"] = command("runsc", "--network=none", "run", "pyro-bench")
    if shutil.which("bwrap"):
        found["bwrap"] = command("bwrap", "--ro-bind", str(root), "/", "--unshare-all", "/bin/true")
    for name, once in list(found.items()):
        try:
            once()
        except subprocess.CalledProcessError as err:
            print(f"{name} does not work here and is left out: {err}", file=sys.stderr)
            del found[name]
    return found


def in_turns(rounds: int, variants: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in variants}
    for n in range(rounds):
        for name, once in variants.items():
            times[name].append(once())
        print(f"\rround {n + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return times


def at_once(threads: int, runs: int) -> float:
    """Clones a second, each run to its end, with so many at once."""
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda _: pyro("-q", "run", ENVIRONMENT, "--", "true"), range(runs)))
        return runs / (time.perf_counter() - began)


def alive(count: int) -> tuple[list[float], list[float], list[float]]:
    """The memory in MiB, that of the supervisor in it, and the disk in MiB of each of so many tasks that have run one
    command and then been idle for a while."""
    tasks = [
        json.loads(pyro("task", "create", ENVIRONMENT, "--ttl-seconds", "0", "--json"))["task_id"]
        for _ in range(count)
    ]
    try:
        for task in tasks:
            pyro("task", "exec", task, "--", "true")
        time.sleep(3)
        pss = [sum(memory(pid, "Pss") for pid in tree(supervisor(task))) / 1024 for task in tasks]
        own = [memory(supervisor(task), "Pss") / 1024 for task in tasks]
        disk = [sum(f.stat().st_blocks * 512 for f in (vms() / task).iterdir()) / 2**20 for task in tasks]
        return pss, own, disk
    finally:
        for task in tasks:
            pyro("task", "delete", task)


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    tenth = len(ordered) // 10
    return {
        "median": statistics.median(ordered),
        "p10": ordered[tenth],
        "p90": ordered[-1 - tenth],
        "n": len(ordered),
    }


def version(name: str) -> str | None:
    """The first line of what a tool says of its version; nothing if it is not there."""
    path = BINARY if name == "pyro" else shutil.which(name)
    if path is None:
        return None
    said = subprocess.run([path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return next(iter(said.stdout.splitlines()), None)


def host() -> dict[str, Any]:
    doctor = subprocess.run(
        [BINARY, "doctor", "--json"], stdout=subprocess.PIPE, text=True, check=False
    ).stdout
    facts = json.loads(doctor)
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": cpu.group(1) if cpu else platform.processor(),
        "memory_mib": facts["platform"]["memory_mib"],
        "distribution": facts["platform"]["distribution"],
        "versions": {name: version(name) for name in ("pyro", "runc", "runsc", "bwrap")},
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "vmm": facts["platform"]["vmm"].split(" (")[0],
        "accelerator": facts.get("accelerator"),
        "load": os.getloadavg()[0],
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


@contextmanager
def own_state() -> Iterator[Path]:
    """A scratch directory with a state of our own, so that nothing of the user's is counted or touched."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    os.environ.setdefault("PYRO_CACHE_DIR", f"{base}/pyro")
    with tempfile.TemporaryDirectory(prefix="pyro-bench-") as scratch:
        os.environ["PYRO_STATE_DIR"], os.environ["PYRO_MAX_ACTIVE_VMS"] = f"{scratch}/state", "100"
        vms().mkdir(parents=True)
        yield Path(scratch)
        quiet()


def cache_of_its_own(where: Path) -> Path:
    """A cache that shares everything with the real one but the templates."""
    where.mkdir()
    for each in Path(os.environ["PYRO_CACHE_DIR"]).iterdir():
        if each.name not in ("templates", "tmp", "partial"):
            (where / each.name).symlink_to(each)
    return where


class Beside:
    """A warm run alone, one while a template of another shape is made in the background, and the first run of such a shape,
    which leaves that template to be made."""

    def __init__(self, scratch: Path) -> None:
        self.env = os.environ | {"PYRO_CACHE_DIR": str(cache_of_its_own(scratch / "beside"))}
        self.memory = 1024
        self.run("env", "warm", ENVIRONMENT)

    def run(self, *words: str) -> float:
        return timed(lambda: subprocess.run([BINARY, "-q", *words], check=True, env=self.env))

    def alone(self) -> float:
        quiet()
        return self.run("run", ENVIRONMENT, "--", "true")

    def first(self) -> float:
        quiet()
        self.memory += 1
        return self.run("run", ENVIRONMENT, "--mem-mib", str(self.memory), "--", "true")

    def beside(self) -> float:
        self.first()
        return self.run("run", ENVIRONMENT, "--", "true")


def runsc(scratch: Path) -> dict[str, Callable[[], float]]:
    return {name: once for name, once in others(scratch).items() if name == "runsc run"}


Times = dict[str, list[float]]


def warm_run() -> float:
    return timed(lambda: pyro("-q", "run", ENVIRONMENT, "--", "true"))


def starts(rounds: int, scratch: Path, stack: ExitStack) -> Times:
    """Warm runs and commands of a task, beside the other tools."""
    task = TaskExec()
    stack.callback(task.close)
    return in_turns(rounds, {"pyro run, warm": warm_run, "task exec": task} | others(scratch))


def cold(rounds: int, scratch: Path, _: ExitStack) -> Times:
    """Boots, the first run of a shape, and a warm run beside a template that is being made."""
    beside = Beside(scratch)
    variants = {
        "pyro run, cold": Cold(scratch),
        "first of a shape": beside.first,
        "warm, nothing beside it": beside.alone,
        "warm, beside a build": beside.beside,
    }
    return in_turns(min(rounds, 10), variants | runsc(scratch))


def kept(rounds: int, scratch: Path, stack: ExitStack) -> Times:
    """Runs that find a VM ready: a server's, and one that the run before has left."""
    # Each has VMs started in the background: beside it only what is compared with it.
    base, spared = runsc(scratch), Spared()
    times = in_turns(rounds, {"pyro run, kept warm": spared} | base)
    pooled = Pooled()
    stack.callback(pooled.mcp.close)
    again = in_turns(rounds, {"pyro run, pooled": pooled} | base)
    return {name: times.get(name, []) + again.get(name, []) for name in times | again}


def crowd(_: int, __: Path, ___: ExitStack) -> dict[str, Any]:
    """Clones a second with so many at once, and the memory and the disk of many that are idle."""
    results: dict[str, Any] = {
        "clones_per_second": {str(n): at_once(n, max(8, 2 * n)) for n in (1, 2, 4, 8, 16)}
    }
    pss, supervisors, disk = alive(ALIVE)
    return results | {
        "pss_mib": spread(pss),
        "supervisor_mib": spread(supervisors),
        "disk_mib": spread(disk),
    }


PARTS = {"starts": starts, "cold": cold, "kept": kept, "crowd": crowd}


def measure(rounds: int, parts: list[str], results: dict[str, Any]) -> None:
    """Measures some parts, and adds them to the results of others."""
    with own_state() as scratch:
        results |= {"host": host(), "rounds": rounds}
        pyro("-q", "env", "pull", ENVIRONMENT)
        pyro("-q", "env", "warm", ENVIRONMENT)
        for name in parts:
            print(f"{name} ...", file=sys.stderr)
            place = scratch / name
            place.mkdir()
            with ExitStack() as stack:
                found = PARTS[name](rounds, place, stack)
            quiet()
            if name == "crowd":
                results |= found
                continue
            times = {row: spread(values) for row, values in found.items()}
            results["ms"] = results.get("ms", {}) | times
            if base := times.get("runsc run"):
                ratios = {row: t["median"] / base["median"] for row, t in times.items()}
                results["to_runsc"] = results.get("to_runsc", {}) | ratios


def table(results: dict[str, Any]) -> str:
    times, ratios = results.get("ms", {}), results.get("to_runsc", {})
    lines = [
        ", ".join(f"{k} {v}" for k, v in results["host"].items() if k != "versions"),
        f"{'':26}{'median':>10}{'p10':>10}{'p90':>10}{'to runsc in its part':>22}",
    ]
    for name, t in times.items():
        ratio = f"{ratios[name]:22.2f}" if name in ratios else f"{'-':>22}"
        lines.append(f"{name:26}{t['median']:7.0f} ms{t['p10']:7.0f} ms{t['p90']:7.0f} ms{ratio}")
    for n, rate in results.get("clones_per_second", {}).items():
        lines.append(f"{n} at once: {rate:.1f} a second")
    for name, what in {
        "pss_mib": f"proportional memory a VM, {ALIVE} alive, supervisor included",
        "supervisor_mib": "of which its supervisor",
        "disk_mib": "disk a fresh VM",
    }.items():
        if name in results:
            lines.append(f"{what}: {results[name]['median']:.1f} MiB")
    return "\n".join(lines)


def main() -> None:
    parts = sys.argv[1:] or list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        sys.exit(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    out = ROOT / "bench" / "results.json"
    results: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    measure(int(os.environ.get("BENCH_ROUNDS", "15")), parts, results)
    print(table(results))
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
