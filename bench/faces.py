"""What the faces add to the engine's own time: vm_run over MCP against pyro run, exec_task from Python, idle memory.

Run it from the root after make build, with debian:12 installed:  python3 bench/faces.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from client import BINARY, MCP, ROOT, memory, timed

sys.path.insert(0, str(ROOT / "python" / "src"))

from pyro_mcp import Pyro


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    mcp = MCP()
    print(f"mcp serve, idle: {memory(mcp.process.pid, 'Rss') / 1024:.1f} MiB resident")
    cli: list[float] = []
    tool: list[float] = []
    own: list[float] = []

    def call() -> None:
        mcp.run(environment="debian:12", command="true")

    call()
    for _ in range(runs):  # in turns, so that a change of the machine's load meets both
        cli.append(
            timed(lambda: subprocess.run([BINARY, "run", "debian:12", "--", "sh", "-lc", "true"], check=True))
        )
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
