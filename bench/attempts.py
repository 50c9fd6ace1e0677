"""Many attempts from one prepared state, beside preparing for each: a repository is brought into a task and made ready once, a
snapshot is taken, and each attempt is a fork of it. Prints what both ways take.

Run it from the root after make build, with debian:12 installed:  python3 bench/attempts.py [ATTEMPTS]
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from client import BINARY

MODULES = 200
PREPARE = "git init -q . && git add . && python3 -m compileall -q . && python3 -m unittest -q"
ATTEMPT = "sed -i 's/return {n}/return {n} + 0/' m{n:03}.py && python3 -m unittest -q test_{n:03}"


def repository(path: pathlib.Path) -> None:
    """A repository of many modules with a test for each tenth."""
    for n in range(MODULES):
        rest = "".join(f"def f{i}(x):\n    return x + {i}\n\n" for i in range(60))
        (path / f"m{n:03}.py").write_text(f"def value():\n    return {n}\n\n{rest}")
        if n % 10 == 0:
            test = f"import unittest, m{n:03}\nclass T(unittest.TestCase):\n"
            (path / f"test_{n:03}.py").write_text(
                f"{test}    def test(self): self.assertEqual(m{n:03}.value(), {n})\n"
            )


class Demo:
    def __init__(self, state: str, repository: pathlib.Path) -> None:
        self.env = {**os.environ, "PYRO_STATE_DIR": state, "PYRO_MAX_ACTIVE_VMS": "40"}
        self.repository = repository

    def pyro(self, *words: str) -> str:
        done = subprocess.run([BINARY, "-q", *words], env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"pyro {' '.join(words)}: exit status {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def prepared(self) -> str:
        task = self.pyro("task", "create", "debian:12", "--source-path", str(self.repository))
        self.run(task, PREPARE)
        return task

    def run(self, task: str, line: str) -> None:
        self.pyro("task", "exec", task, "--timeout-seconds", "300", "--", "sh", "-c", line)

    def attempt(self, task: str, n: int) -> None:
        self.run(task, ATTEMPT.format(n=n % (MODULES // 10) * 10))
        self.pyro("task", "delete", task)

    def once(self, attempts: int) -> None:
        """Prepares once, and forks."""
        task = self.prepared()
        self.pyro("task", "snapshot", task, "--name", "prepared")
        for n, fork in enumerate(self.pyro("task", "fork", "prepared", "-n", str(attempts)).split()):
            self.attempt(fork, n)
        self.pyro("snapshot", "delete", "prepared")
        self.pyro("task", "delete", task)

    def each(self, attempts: int) -> None:
        """Prepares for each."""
        for n in range(attempts):
            self.attempt(self.prepared(), n)


def timed(do: Callable[[int], None], attempts: int) -> float:
    began = time.monotonic()
    do(attempts)
    return time.monotonic() - began


def main() -> None:
    attempts = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    place = pathlib.Path(tempfile.mkdtemp(prefix="pyro-attempts-"))
    (place / "repository").mkdir()
    repository(place / "repository")
    demo = Demo(str(place / "state"), place / "repository")
    try:
        demo.pyro("env", "warm", "debian:12")
        once, each = timed(demo.once, attempts), timed(demo.each, attempts)
        print(f"{attempts} attempts, prepared once and forked: {once:7.1f} s")
        print(
            f"{attempts} attempts, prepared for each:        {each:7.1f} s, {each / once:.1f} times as long"
        )
    finally:
        left = json.loads(demo.pyro("task", "list", "--json")).get("tasks", [])
        if left:
            demo.pyro("task", "delete", *(task["task_id"] for task in left))
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
