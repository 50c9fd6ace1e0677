"""Starts as an ordinary user beside root's, taking turns: run it as root. BENCH_ROUNDS (default 10) is how often."""

from __future__ import annotations

import os
from pathlib import Path

from client import BINARY
from starts import Place, report

USER = 60999


def main() -> None:
    if os.geteuid() != 0:
        raise SystemExit("only root can be both")
    rounds = int(os.environ.get("BENCH_ROUNDS", "10"))
    places = {"root": Place(Path(BINARY)), f"user {USER}": Place(Path(BINARY), USER)}
    figures: dict[str, list[float]] = {}
    try:
        for place in places.values():
            place.cold()  # finds out about KVM
        for _ in range(rounds):
            for name, place in places.items():
                figures.setdefault(f"cold run, {name}", []).append(place.cold())
        for place in places.values():
            place.settle()
            place.pyro("env", "warm", "debian:12")
            place.warm()
        for _ in range(rounds):
            for name, place in places.items():
                figures.setdefault(f"warm run, {name}", []).append(place.warm())
    finally:
        for place in places.values():
            place.remove()
    for name, took in figures.items():
        report(name, took)


if __name__ == "__main__":
    main()
