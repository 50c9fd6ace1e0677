"""What QEMU's confinement costs a warm start: with and without take turns. BENCH_ROUNDS (default 15) is how often."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from client import BINARY, ROOT
from starts import Place, report


def main() -> None:
    rounds = int(os.environ.get("BENCH_ROUNDS", "15"))
    with tempfile.TemporaryDirectory() as built:
        without = Path(built) / "pyro"
        # The same program, but for what is measured; the flags are those of the Makefile.
        subprocess.run(
            ["go", "build", "-trimpath", "-tags", "unconfined", "-ldflags", "-s -w"]
            + ["-o", str(without), "./cmd/pyro"],
            cwd=ROOT,
            check=True,
            env={**os.environ, "CGO_ENABLED": "0"},
        )
        places = {"with confinement": Place(Path(BINARY)), "without": Place(without)}
    try:
        figures: dict[str, list[float]] = {name: [] for name in places}
        for place in places.values():
            place.pyro("env", "warm", "debian:12")
            place.warm()
        for _ in range(rounds):
            for name, place in places.items():
                figures[name].append(place.warm())
    finally:
        for place in places.values():
            place.remove()
    confined, free = (report(f"warm run, {name}", took) for name, took in figures.items())
    print(f"the confinement costs {100 * (confined - free) / free:+.1f} %")


if __name__ == "__main__":
    main()
