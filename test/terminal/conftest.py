"""One task, in which the programs are that the tests drive."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from screen import Tmux

BINARY = os.environ.get("PYRO_BINARY") or str(Path(__file__).parents[2] / "bin" / "pyro")

# What every run of the tests tries, and what make test-terminal tries beside it.
FEW = ["vim-tiny", "less"]
ALL = [*FEW, "htop", "tmux", "nano", "gdb", "sqlite3"]
WANTED = ALL if os.environ.get("PYRO_TEST_PROGRAMS") == "all" else FEW


class World:
    """A pyro with a state of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.env = {**os.environ, "PYRO_STATE_DIR": str(state), "TERM": "xterm-256color"}
        self.binary = BINARY

    def run(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [self.binary, "-q", *words],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout.strip()

    def task(self, *flags: str) -> str:
        return self.run("task", "create", "debian:12", "--ttl-seconds", "0", *flags)

    def supervisor(self, task: str) -> int:
        """The process that owns a task's guest."""
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                words = (directory / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"supervise" in words and str(self.state / "vms" / task).encode() in words:
                return int(directory.name)
        raise AssertionError(f"{task} has no supervisor")

    def machine(self, task: str) -> int:
        """The process that runs a task's guest."""
        owner = self.supervisor(task)
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == owner:
                return int(directory.name)
        raise AssertionError(f"{task} has no machine")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    w = World(tmp_path_factory.mktemp("state"))
    yield w
    w.run("task", "delete", "--all", check=False)


@pytest.fixture(scope="session")
def task(world: World) -> str:
    identity = world.task("--network")
    cache = Path(os.environ.get("PYRO_CACHE_DIR") or Path.home() / ".cache" / "pyro")
    mirror = json.loads((cache / "environments" / "debian:12.json").read_text())["mirror"]
    world.run(
        "task",
        "exec",
        identity,
        "--timeout-seconds",
        "800",
        "--",
        "sh",
        "-c",
        f"sed -i 's,^URIs: http://deb.debian.org/debian,URIs: {mirror},' /etc/apt/sources.list.d/*; "
        f"apt-get -qq update && apt-get -qq install --yes --no-install-recommends {' '.join(WANTED)}",
    )
    return identity


@pytest.fixture
def tmux(world: World) -> Iterator[Tmux]:
    screen = Tmux(world.env)
    yield screen
    screen.close()
