"""Files in and out of a task: 200 MB down and up, 10,000 files down, a
diff of 10,000 files of which 10 changed, and reading 1 KiB, each beside the same work done by cp on this host.

Run it from the root after make build, with debian:12 installed:  python3 bench/files.py [ROUNDS]
"""

from __future__ import annotations

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "python" / "src"))
from pyro_mcp import Pyro

MB = 200
FILES = 10_000
CHANGED = 10


def median(rounds: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """The median of the seconds that work takes."""
    took = []
    for _ in range(rounds):
        before()
        began = time.monotonic()
        work()
        took.append(time.monotonic() - began)
    return statistics.median(took)


def row(name: str, took: float, unit: str, goal: str, host: float) -> None:
    """Prints a figure beside its goal and the host's own."""
    def figure(seconds: float) -> str:
        return f"{MB / seconds:.0f} MB/s" if unit == "MB/s" else f"{seconds * 1000:.0f} ms"

    print(f"| {name} | {figure(took)} | {goal} | {figure(host)} |", flush=True)


def main() -> None:
    """Takes the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    binary = str(pathlib.Path(__file__).parent.parent / "bin" / "pyro")
    with tempfile.TemporaryDirectory(prefix="pyro-bench-") as scratch:
        large, tree, out = (os.path.join(scratch, name) for name in ("large", "tree", "out"))
        pathlib.Path(large).write_bytes(os.urandom(MB * 1_000_000))
        for n in range(FILES):
            directory = pathlib.Path(tree, f"{n % 100:02}")
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"file-{n}").write_text(f"line {n}\n" * 20)
        with Pyro(binary=binary, state_dir=os.path.join(scratch, "state")) as p:
            task = p.create_task("debian:12", source_path=tree, ttl_seconds=1800)["task_id"]
            try:
                print(f"medians of {rounds}\n| what | pyro | goal | cp on this host |\n|---|---|---|---|")

                def clean() -> None:
                    if os.path.isdir(out):
                        shutil.rmtree(out)
                    else:
                        pathlib.Path(out).unlink(missing_ok=True)

                def copied(source: str) -> float:
                    return median(rounds, lambda: subprocess.run(["cp", "-a", source, out], check=True), clean)

                row(
                    f"upload of {MB} MB",
                    median(rounds, lambda: p.upload(task, host_path=large, path="/srv/large")),
                    "MB/s",
                    "60 MB/s",
                    copied(large),
                )
                down = median(rounds, lambda: p.download(task, path="/srv/large", host_path=out), clean)
                row(f"download of {MB} MB", down, "MB/s", "60 MB/s", copied(large))
                down = median(rounds, lambda: p.download(task, path="/workspace", host_path=out), clean)
                row(f"{FILES} files down", down, "s", "6000 ms", copied(tree))
                p.exec_task(task, command=f"for n in $(seq {CHANGED}); do echo more >>00/file-${{n}}00; done")
                diff = median(rounds, lambda: p.diff_task(task, patch=True))
                clean()
                shutil.copytree(tree, out)
                for n in range(1, CHANGED + 1):
                    with open(os.path.join(out, "00", f"file-{n}00"), "a") as f:
                        f.write("more\n")
                host = median(rounds, lambda: subprocess.run(["diff", "-ru", tree, out], stdout=subprocess.DEVNULL))
                row(f"diff of {FILES} files, {CHANGED} changed (host: diff -ru)", diff, "s", "1000 ms", host)
                p.write_file(task, path="small", content="x" * 1024)
                small = os.path.join(scratch, "small")
                pathlib.Path(small).write_text("x" * 1024)
                row(
                    "read_file of 1 KiB (host: cat)",
                    median(rounds * 10, lambda: p.read_file(task, path="small")),
                    "s",
                    "30 ms",
                    median(rounds * 10, lambda: subprocess.run(["cat", small], stdout=subprocess.DEVNULL)),
                )
            finally:
                p.delete_task(task)


if __name__ == "__main__":
    main()
