"""What the benchmarks share: the binary, an MCP client, a stopwatch, and memory as /proc tells it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("PYRO_BINARY") or str(ROOT / "bin" / "pyro")


class MCP:
    """The least MCP client over stdio."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(
            [BINARY, "mcp", "serve", *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.number = 0
        self.ask(
            "initialize",
            protocolVersion="2025-06-18",
            capabilities={},
            clientInfo={"name": "bench", "version": "1"},
        )

    def ask(self, method: str, **params: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        self.number += 1
        self.process.stdin.write(
            json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}) + "\n"
        )
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["result"]

    def run(self, **arguments: Any) -> None:
        """One command in a VM of its own; it must succeed."""
        result = self.ask("tools/call", name="vm_run", arguments=arguments)
        assert result["structuredContent"]["exit_code"] == 0, result

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def timed(do: Callable[[], Any]) -> float:
    """How long do takes, in milliseconds."""
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1000


def memory(pid: int, field: str) -> int:
    """A process's memory in KiB: Pss is its share of what it shares, Rss all that it has."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise ValueError(f"process {pid} has no {field}")


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(each.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue  # it has just ended
        children.setdefault(parent, []).append(int(each.parent.name))
    found = [pid]
    for each_pid in found:
        found.extend(children.get(each_pid, []))
    return found
