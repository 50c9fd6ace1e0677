"""What the faces add to the engine's own time: vm_run over MCP against pyro run, exec_task from Python, idle memory.

Run it from the root after make build, with debian:12 installed:  python3 bench/faces.py [RUNS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BINARY = os.environ.get("PYRO_BINARY") or str(ROOT / "bin" / "pyro")
sys.path.insert(0, str(ROOT / "python" / "src"))

from pyro_mcp import Pyro  # noqa: E402


class MCP:
    """The least MCP client over stdio."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([BINARY, "mcp", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.number = 0
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "bench", "version": "1"})

    def ask(self, method: str, **params: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        self.number += 1
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["result"]

    def memory(self) -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def timed(do: Any) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    mcp = MCP()
    print(f"mcp serve, idle: {mcp.memory() / 1024:.1f} MiB resident")
    arguments = {"environment": "debian:12", "command": "true"}
    cli: list[float] = []
    tool: list[float] = []
    own: list[float] = []

    def call() -> None:
        result = mcp.ask("tools/call", name="vm_run", arguments=arguments)
        assert result["structuredContent"]["exit_code"] == 0, result

    call()
    for _ in range(runs):  # in turns, so that a change of the machine's load meets both
        cli.append(timed(lambda: subprocess.run([BINARY, "run", "debian:12", "--", "sh", "-lc", "true"], check=True)))
        tool.append(timed(call))
    print(f"pyro run, median of {runs}: {statistics.median(cli):.0f} ms")
    print(f"vm_run over MCP, median of {runs}: {statistics.median(tool):.0f} ms")
    mcp.close()

    for _ in range(30):
        own.append(timed(lambda: subprocess.run([BINARY, "--version"], check=True, capture_output=True)))
    print(f"pyro --version, median of 30: {statistics.median(own):.1f} ms")

    with Pyro(binary=BINARY) as p:
        task = p.create_task("debian:12")
        times = [timed(lambda: p.exec_task(task["task_id"], command="true")) for _ in range(5 * runs)]
        inner = [e["duration_ms"] for e in p.logs_task(task["task_id"])["entries"]]
        status = [timed(lambda: p.status_task(task["task_id"])) for _ in range(5 * runs)]
        p.delete_task(task["task_id"])
    print(f"exec_task from Python, median of {len(times)}: {statistics.median(times):.1f} ms")
    print(f"  of which the command in the guest: {statistics.median(inner):.1f} ms")
    print(f"status_task from Python, median of {len(status)}: {statistics.median(status):.1f} ms")


if __name__ == "__main__":
    main()
