"""Cold and warm starts in a place of its own, for comparisons within one run."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENT = "debian:12"
SHARED = ("environments", "images", "kernels", "initrds")


def cache_of_user() -> Path:
    """The cache that debian:12 is installed in."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("PYRO_CACHE_DIR") or home / "pyro")


class Place:
    """A cache and a state directory of somebody's own, with a copy of the environment that is installed."""

    def __init__(self, binary: Path, user: int | None = None) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="b"))
        self.dir.chmod(0o755)
        self.user = user
        self.binary = self.dir / "pyro"
        shutil.copy(binary, self.binary)
        for part in SHARED:
            subprocess.run(["cp", "-a", "--", cache_of_user() / part, self._made(part)], check=True)
        if user is not None:
            subprocess.run(["chown", "-R", f"{user}:{user}", str(self.dir)], check=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.dir),
            "TMPDIR": str(self.dir),
            "PYRO_CACHE_DIR": str(self.dir / "cache"),
            "PYRO_STATE_DIR": str(self.dir / "state"),
        }

    def _made(self, part: str) -> Path:
        (self.dir / "cache").mkdir(exist_ok=True)
        return self.dir / "cache" / part

    def pyro(self, *words: str) -> str:
        group = [] if self.user is None else kvm_group()
        who: dict[str, object] = {}
        if self.user is not None:
            who = {"user": self.user, "group": self.user, "extra_groups": group}
        done = subprocess.run(
            [str(self.binary), "-q", *words],
            env=self.env,
            cwd=self.dir,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            **who,  # type: ignore[call-overload]
        )
        return str(done.stdout)

    def settle(self) -> None:
        """Ends the making of templates, which would run beside what is measured."""
        while supervisors := running(str(self.dir)):
            for pid in supervisors:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)

    def cold(self) -> float:
        """One run without a template, in milliseconds."""
        self.settle()
        shutil.rmtree(self.dir / "cache" / "templates", ignore_errors=True)
        return self._run(warm=False)

    def warm(self) -> float:
        """One run from a template, in milliseconds."""
        return self._run(warm=True)

    def _run(self, warm: bool) -> float:
        began = time.perf_counter()
        result = json.loads(self.pyro("run", ENVIRONMENT, "--json", "--", "true"))
        took = (time.perf_counter() - began) * 1000
        assert result["exit_code"] == 0 and result["warm"] == warm, result
        return took

    def remove(self) -> None:
        self.settle()
        shutil.rmtree(self.dir)


def running(directory: str) -> list[int]:
    """The supervisors that make templates in a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"supervise" in words and any(directory.encode() in w and b"/build-" in w for w in words):
            found.append(int(entry.name))
    return found


def kvm_group() -> list[int]:
    try:
        status = os.stat("/dev/kvm")
    except FileNotFoundError:
        return []
    return [status.st_gid] if status.st_mode & 0o060 == 0o060 else []


def report(what: str, figures: Sequence[float]) -> float:
    median = statistics.median(figures)
    print(f"{what:34} {median:7.0f} ms  (of {len(figures)}: {min(figures):.0f} to {max(figures):.0f})")
    return median
