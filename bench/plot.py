"""Draws the times of bench/results.json as docs/benchmarks.svg, on a logarithmic scale, with no library."""

from __future__ import annotations

import json
import math
from html import escape

from client import ROOT

WIDTH, LEFT, RIGHT, ROW, TOP = 720, 150, 90, 30, 46
FLOOR, CEILING = 1.0, 10_000.0  # ms


def x(ms: float) -> float:
    share = math.log(max(ms, FLOOR) / FLOOR) / math.log(CEILING / FLOOR)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def main() -> None:
    results = json.loads((ROOT / "bench" / "results.json").read_text())
    rows = sorted(results["ms"].items(), key=lambda item: item[1]["median"])
    height = TOP + ROW * len(rows) + 16
    host = results["host"]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="18" fill="#333">Time to run /bin/true: median, and tenth to ninetieth percentile '
        f"({escape(str(host['accelerator']))}, {host['cores']} cores)</text>",
    ]
    for ms in (1, 10, 100, 1000, 10_000):
        out.append(
            f'<line x1="{x(ms):.1f}" x2="{x(ms):.1f}" y1="{TOP - 8}" y2="{height - 12}" stroke="#ddd"/>'
        )
        out.append(f'<text x="{x(ms):.1f}" y="{TOP - 12}" fill="#777" text-anchor="middle">{ms} ms</text>')
    for n, (name, t) in enumerate(rows):
        y = TOP + ROW * n
        colour = "#d9480f" if name.startswith(("pyro", "task")) else "#868e96"
        out.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end" fill="#333">{escape(name)}</text>')
        out.append(
            f'<rect x="{LEFT}" y="{y + 3}" width="{x(t["median"]) - LEFT:.1f}" height="{ROW - 12}" fill="{colour}"/>'
        )
        out.append(
            f'<line x1="{x(t["p10"]):.1f}" x2="{x(t["p90"]):.1f}" y1="{y + 12}" y2="{y + 12}" stroke="#333"/>'
        )
        out.append(f'<text x="{x(t["p90"]) + 6:.1f}" y="{y + 16}" fill="#333">{t["median"]:.0f} ms</text>')
    out.append("</svg>")
    (ROOT / "docs" / "benchmarks.svg").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
