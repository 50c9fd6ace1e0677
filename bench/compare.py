"""Compares two results of make bench:  python3 bench/compare.py OLD.json NEW.json

What got slower or larger by more than the noise of both runs is marked, and makes the exit status 1. Machines differ
and so does one from hour to hour: if both runs have runsc, times are compared as ratios to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MARGIN = 0.10  # what is never called a change


def scale(results: dict[str, Any]) -> float:
    base = results["ms"].get("runsc run")
    return float(base["median"]) if base else 1.0


def noise(spread: dict[str, float]) -> float:
    """Half of the distance between the tenth and the ninetieth percentile, as a share of the median."""
    return (spread["p90"] - spread["p10"]) / 2 / spread["median"]


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, float, bool]]:
    """Each figure's ratio of new to old, in the direction in which more is worse, and whether it is a regression."""
    both = "runsc run" in old["ms"] and "runsc run" in new["ms"]
    by = scale(old) / scale(new) if both else 1.0
    found = []
    for name in old["ms"].keys() & new["ms"].keys():
        if not name.startswith(("pyro", "task")):
            continue
        before, after = old["ms"][name], new["ms"][name]
        ratio = after["median"] / before["median"] * by
        found.append((name, ratio, ratio > 1 + max(MARGIN, noise(before) + noise(after))))
    for name in ("pss_mib", "disk_mib"):
        ratio = new[name]["median"] / old[name]["median"]
        found.append((name, ratio, ratio > 1 + MARGIN))
    # Work is compared by what it takes in a guest in multiples of the host's own time.
    for name in old.get("work_s", {}).keys() & new.get("work_s", {}).keys():
        before, after = old["work_s"][name], new["work_s"][name]
        if {"pyro", "host"} <= before.keys() & after.keys():
            ratio = after["pyro"]["median"] / after["host"]["median"]
            ratio /= before["pyro"]["median"] / before["host"]["median"]
            margin = max(
                MARGIN, sum(noise(each[way]) for each in (before, after) for way in ("pyro", "host"))
            )
            found.append((name, ratio, ratio > 1 + margin))
    for count in old.get("memory_mib", {}).keys() & new.get("memory_mib", {}).keys():
        ratio = new["memory_mib"][count]["total"] / old["memory_mib"][count]["total"]
        found.append((f"memory of {count}", ratio, ratio > 1 + MARGIN))
    return sorted(found)


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    old, new = (json.loads(Path(each).read_text()) for each in sys.argv[1:])
    worse = False
    for name, ratio, regression in changes(old, new):
        print(f"{name:26}{ratio:6.2f}{'   REGRESSION' if regression else ''}")
        worse |= regression
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
