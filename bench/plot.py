"""Draws bench/results.json for people, with no library: docs/benchmarks.svg (starting), docs/benchmarks-many.svg (many VMs)
and docs/benchmarks-work.svg (computing). Axes are linear; what is longer than one is cut off and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from client import ROOT

WIDTH = 720
OURS, OTHERS = "ours", "others"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.s{font-size:12px;fill:#666}.t{font-weight:600}"
    ".grid{stroke:#ddd}.whisker{stroke:#333}.back{fill:#fff}"
    ".ours{fill:#d9480f}.others{fill:#868e96}.w0{fill:#ced4da}.w1{fill:#868e96}.w2{fill:#3b5bdb}.w3{fill:#d9480f}"
    ".line{fill:none;stroke:#d9480f;stroke-width:2}.ideal{fill:none;stroke:#868e96;stroke-dasharray:4 4}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#8b949e}.grid{stroke:#30363d}"
    ".whisker{stroke:#e6edf3}.back{fill:#0d1117}.w0{fill:#6e7681}.w1{fill:#adb5bd}.w2{fill:#748ffc}}"
)


class Drawing:
    def __init__(self, height: float, title: str) -> None:
        self.height = height
        self.out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-label="{escape(title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{WIDTH}" height="{height:.0f}" rx="6"/>',
        ]

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        self.out.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        self.out.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" class="{kind}"/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def path(self, points: list[tuple[float, float]], kind: str) -> None:
        self.out.append(f'<path d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}" class="{kind}"/>')

    def write(self, name: str) -> None:
        (ROOT / "docs" / name).write_text("\n".join([*self.out, "</svg>"]) + "\n")


def nice(most: float) -> float:
    """The distance of the lines of a grid that has four or five of them up to most."""
    step = 10.0 ** len(str(int(most))) / 100
    for factor in (1, 2, 5, 10, 20, 50, 100):
        if most / (step * factor) <= 5.5:
            return step * factor
    return most


def machine(results: dict[str, Any]) -> str:
    host = results["host"]
    with_kvm = "KVM" if host["accelerator"] == "kvm" else "emulated (no KVM)"
    return f"{host['cores']} cores, {with_kvm}, {host['vmm']}; {host['date'][:10]}"


def starting(results: dict[str, Any]) -> None:
    rows = sorted(results["ms"].items(), key=lambda item: item[1]["median"])
    left, right, top, row = 190.0, 90.0, 76.0, 30.0
    # The axis is for the warm ones; a cold start is cut off, and says its time.
    quick = ("pyro run, warm", "pyro run, kept", "pyro run, pooled", "task", "run", "bwrap")
    most = 1.15 * max(t["p90"] for name, t in rows if name.startswith(quick))
    d = Drawing(top + row * len(rows) + 30, "Time to run /bin/true in a fresh sandbox")
    d.text(12, 22, "Time to run /bin/true, from the command line to its end", "t")
    d.text(12, 40, f"median, and tenth to ninetieth percentile; {machine(results)}", "s")
    scale = (WIDTH - left - right) / most
    step = nice(most)
    n = 0
    while n * step <= most:
        x = left + n * step * scale
        d.line(x, top - 10, x, d.height - 26, "grid")
        d.text(x, top - 16, f"{n * step:.0f} ms", "s", "middle")
        n += 1
    for n, (name, t) in enumerate(rows):
        y = top + row * n
        ours = name.startswith(("pyro", "task", "first", "warm"))
        d.text(left - 10, y + 16, name, "t" if ours else "", "end")
        end = min(t["median"], most) * scale
        d.bar(left, y + 3, end, row - 12, OURS if ours else OTHERS)
        if t["median"] > most:
            d.text(left + end + 6, y + 16, f"▸ {t['median']:,.0f} ms")
            continue
        d.line(left + t["p10"] * scale, y + 12, left + t["p90"] * scale, y + 12, "whisker")
        d.text(left + t["p90"] * scale + 8, y + 16, f"{t['median']:.0f} ms")
    d.bar(left, d.height - 18, 10, 10, OURS)
    d.text(left + 16, d.height - 9, "a virtual machine of pyro's", "s")
    d.bar(left + 200, d.height - 18, 10, 10, OTHERS)
    d.text(left + 216, d.height - 9, "others, on the same root file system", "s")
    d.write("benchmarks.svg")


def panel(
    d: Drawing, left: float, title: str, across: str, points: list[tuple[float, float]], unit: str
) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """A linear plot of points; its scales are returned for more to be drawn in it."""
    width, top, bottom = 270.0, 74.0, 250.0
    most_x, most_y = max(x for x, _ in points), 1.15 * max(y for _, y in points)

    def at_x(x: float) -> float:
        return left + x / most_x * width

    def at_y(y: float) -> float:
        return bottom - y / most_y * (bottom - top)

    d.text(left - 40, 58, title, "t")
    step = nice(most_y)
    n = 0
    while n * step <= most_y:
        d.line(left, at_y(n * step), left + width, at_y(n * step), "grid")
        d.text(
            left - 6, at_y(n * step) + 4, f"{n * step:,.0f}" if step >= 1 else f"{n * step:.1f}", "s", "end"
        )
        n += 1
    for x, y in points:
        d.text(at_x(x), bottom + 16, f"{x:.0f}", "s", "middle")
        d.bar(at_x(x) - 3, at_y(y) - 3, 6, 6, OURS)
    d.path([(at_x(x), at_y(y)) for x, y in points], "line")
    d.text(left + width / 2, bottom + 34, across, "s", "middle")
    last = points[-1]
    d.text(at_x(last[0]), at_y(last[1]) - 10, f"{last[1]:,.{0 if last[1] >= 100 else 1}f} {unit}", "", "end")
    return at_x, at_y


def many(results: dict[str, Any]) -> None:
    d = Drawing(296, "Many VMs at once: memory and starts a second")
    d.text(12, 22, "Many VMs at once", "t")
    d.text(12, 40, machine(results), "s")
    memory = [(float(n), each["total"]) for n, each in results["memory_mib"].items()]
    panel(d, 70, "memory of all of them, MiB", "idle tasks alive", memory, "MiB")
    rates = [(float(n), rate) for n, rate in results["clones_per_second"].items()]
    panel(d, 430, "whole runs of true, a second", "runs at once", rates, "a second")
    d.write("benchmarks-many.svg")


def computing(results: dict[str, Any]) -> None:
    work = results["work_s"]
    ways = ["host", "runc", "runsc", "pyro"]
    left, right, top, thin, gap = 196.0, 110.0, 92.0, 14.0, 16.0
    used = [way for way in ways if any(way in times for times in work.values())]
    height = top + sum(thin * len(used) + gap for _ in work) + 14
    d = Drawing(height, "The same work on the host, under runc, under runsc and in a guest")
    d.text(12, 22, "The same work, in multiples of the host's time", "t")
    d.text(12, 40, f"medians, measured inside, without the start; {machine(results)}", "s")
    for n, way in enumerate(used):
        d.bar(12 + 90 * n, 54, 10, 10, f"w{ways.index(way)}")
        d.text(28 + 90 * n, 63, way, "s")
    ratio = {
        name: {way: t["median"] / times["host"]["median"] for way, t in times.items()}
        for name, times in work.items()
    }
    most = max(max(each.values()) for each in ratio.values())
    scale = (WIDTH - left - right) / most
    step = nice(most)
    n = 0
    while n * step <= most:
        d.line(left + n * step * scale, top - 8, left + n * step * scale, height - 10, "grid")
        d.text(left + n * step * scale, top - 12, f"{n * step:.0f} ×", "s", "middle")
        n += 1
    y = top
    for name, times in work.items():
        d.text(left - 10, y + thin * len(used) / 2 + 4, name, "", "end")
        for way in used:
            if way in times:
                end = ratio[name][way] * scale
                d.bar(left, y + 1, end, thin - 2, f"w{ways.index(way)}")
                d.text(
                    left + end + 6, y + 11, f"{ratio[name][way]:.1f} × · {times[way]['median']:.2f} s", "s"
                )
            y += thin
        y += gap
    d.write("benchmarks-work.svg")


def main() -> None:
    results = json.loads(Path(ROOT / "bench" / "results.json").read_text())
    for needs, draw in (("ms", starting), ("memory_mib", many), ("work_s", computing)):
        if needs in results:
            draw(results)


if __name__ == "__main__":
    main()
