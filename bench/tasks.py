"""What a task costs: a command through the command line, an idle supervisor, deleting, and seeding from an archive and
from a tree of small files, with the peak memory of the caller and of the supervisor.

Run it from the root after make build, with debian:12 installed:  python3 bench/tasks.py [RUNS]
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

from client import BINARY, memory

TAR_MB = 200
FILES = 10_000


def ran(env: dict[str, str], *words: str) -> tuple[str, float, float]:
    """The output of a pyro, its seconds, and its peak memory in MiB."""
    began = time.monotonic()
    process = subprocess.Popen([BINARY, *words], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"pyro {' '.join(words)}: exit status {process.returncode}")
    return out, took, usage.ru_maxrss / 1024


def supervisor(task: str) -> int:
    """The process that supervises a task."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().rstrip(b"\0").endswith(f"/vms/{task}".encode()):
                return int(path.parent.name)
        except OSError:
            continue
    sys.exit(f"{task} has no supervisor")


def peak(pid: int) -> float:
    """The most memory that a process has had resident, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def create(env: dict[str, str], *words: str) -> tuple[str, float, float]:
    out, took, most = ran(env, "-q", "task", "create", "debian:12", "--json", *words)
    return json.loads(out)["task_id"], took, most


def make_tar(path: pathlib.Path) -> None:
    """An archive of TAR_MB of bytes that no compression on the way could make less."""
    data = path.with_suffix(".data")
    with data.open("wb") as f:
        for _ in range(TAR_MB):
            f.write(os.urandom(1_000_000))
    with tarfile.open(path, "w") as tar:
        tar.add(data, "data")
    data.unlink()


def make_tree(path: pathlib.Path) -> None:
    for i in range(FILES):
        directory = path / f"{i // 100:03}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{i:05}.txt").write_bytes(os.urandom(1000))


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as work:
        env = os.environ | {"PYRO_STATE_DIR": work + "/state"}
        tar, tree = pathlib.Path(work, "seed.tar"), pathlib.Path(work, "tree")
        make_tar(tar)
        make_tree(tree)
        ran(env, "-q", "env", "warm", "debian:12")
        create_and_delete(env)  # whatever is done once is done
        task, empty, _ = create(env)
        times = [ran(env, "task", "exec", task, "--", "true")[1] for _ in range(runs)]
        print(f"task create: {empty * 1000:.0f} ms")
        print(f"task exec ID -- true, median of {runs}: {statistics.median(times) * 1000:.0f} ms")
        time.sleep(2)
        pid = supervisor(task)
        print(
            f"supervisor, idle: {memory(pid, 'Rss') / 1024:.1f} MiB resident, {memory(pid, 'Pss') / 1024:.1f} MiB proportional"
        )
        deletes = [ran(env, "task", "delete", task)[1]] + [create_and_delete(env) for _ in range(4)]
        print(f"task delete, median of {len(deletes)}: {statistics.median(deletes) * 1000:.0f} ms")
        for name, source in ("tar", tar), ("tree", tree):
            task, took, most = create(env, "--source-path", str(source))
            seeding = took - empty
            rate = f"{TAR_MB / seeding:.0f} MB/s" if name == "tar" else f"{FILES / seeding:.0f} files/s"
            what = f"{TAR_MB} MB tar" if name == "tar" else f"{FILES} files"
            print(
                f"seeding, {what}: {seeding:.1f} s, {rate}; peak {most:.0f} MiB in pyro, {peak(supervisor(task)):.0f} MiB in the supervisor"
            )
            ran(env, "task", "delete", task)


def create_and_delete(env: dict[str, str]) -> float:
    """Seconds that deleting a fresh task takes."""
    return ran(env, "task", "delete", create(env)[0])[1]


if __name__ == "__main__":
    main()
