"""What each face adds to the engine's own time, in turns, so that a change of the machine's load meets all; sizes of packages.

make bench-faces runs it, with debian:12 installed:  python3 bench/faces.py [ROUNDS]. Figures are medians in milliseconds.
"""

from __future__ import annotations

import asyncio
import glob
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from client import BINARY, MCP, ROOT, memory, timed

sys.path.insert(0, str(ROOT / "python" / "src"))

from pyro_mcp import AsyncPyro, Pyro

COMMAND = ["/bin/true"]
NODE = """
import { createInterface } from "node:readline";
import { Pyro } from "pyro-sdk";
const pyro = new Pyro();
const task_id = process.argv[2];
for await (const line of createInterface({ input: process.stdin })) {
  const began = performance.now();
  if (line === "exec") await pyro.execTask({ task_id, argv: ["/bin/true"] });
  else await pyro.statusTask({ task_id });
  console.log(performance.now() - began);
}
await pyro.close();
"""


class Driven:
    """A program that is told by lines what to do, and answers with how long it took."""

    def __init__(self, argv: list[str], cwd: str | None = None) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd,
            env={**os.environ, "PYRO_BINARY": BINARY})

    def ask(self, what: str) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


class E2B:
    """A sandbox of pyro serve e2b, asked as its SDKs do."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [BINARY, "serve", "e2b", "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        self.process.stderr.readline()
        settings = dict(word.split("=", 1) for word in self.process.stderr.readline().split())
        self.url, self.key = settings["E2B_API_URL"], settings["E2B_API_KEY"]
        made = self.post("/v2/sandboxes", {"templateID": "base", "timeout": 3600}, {"X-Api-Key": self.key})
        made = json.loads(made)
        self.id = made["sandboxID"]
        self.headers = {"E2b-Sandbox-Id": self.id, "X-Access-Token": made["envdAccessToken"]}

    def post(self, path: str, body: object, headers: dict[str, str], kind: str = "application/json") -> bytes:
        raw = json.dumps(body).encode()
        if "connect" in kind:
            raw = struct.pack(">BI", 0, len(raw)) + raw
        request = urllib.request.Request(self.url + path, raw, {**headers, "Content-Type": kind})
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())

    def exec(self) -> None:
        start = {"process": {"cmd": COMMAND[0], "args": []}}
        answer = self.post("/process.Process/Start", start, self.headers, "application/connect+json")
        assert b'"exited":true' in answer, answer

    def close(self) -> None:
        request = urllib.request.Request(
            f"{self.url}/sandboxes/{self.id}", headers={"X-Api-Key": self.key}, method="DELETE")
        urllib.request.urlopen(request).close()
        self.process.terminate()
        self.process.wait()


def node(task: str, scratch: str) -> Driven | None:
    """The npm package, unpacked, if it has been built."""
    packed = [p for p in glob.glob(str(ROOT / "dist" / "pyro-sdk-*.tgz")) if "linux" not in p]
    if not packed:
        print("no npm package in dist: make npm builds it")
        return None
    into = Path(scratch) / "node_modules" / "pyro-sdk"
    into.mkdir(parents=True)
    newest = max(packed, key=os.path.getmtime)
    subprocess.run(["tar", "-xzf", newest, "-C", str(into), "--strip-components=1"], check=True)
    (Path(scratch) / "faces.mjs").write_text(NODE)
    return Driven(["node", "faces.mjs", task], cwd=scratch)


def measure(rounds: int, ways: dict[str, Callable[[], float]]) -> dict[str, float]:
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way())
    return {name: statistics.median(values) for name, values in times.items()}


def table(title: str, medians: dict[str, float]) -> None:
    engine = medians["engine (Go)"]
    print(f"\n{title}:")
    for name, value in medians.items():
        print(f"  {name:24} {value:8.2f} ms   {value - engine:+8.2f}")


def faces(rounds: int, p: Pyro, scratch: str, loop: asyncio.AbstractEventLoop) -> None:
    task = p.create_task("debian:12")["task_id"]
    engine = Driven([str(ROOT / "bin" / "bench-engine"), task])
    script = node(task, scratch)
    mcp, e2b, later = MCP("--profile", "task"), E2B(), AsyncPyro()

    def tool(name: str, **arguments: object) -> float:
        return timed(lambda: mcp.ask("tools/call", name=name, arguments={"task_id": task, **arguments}))

    def cli(*arguments: str) -> float:
        return timed(lambda: subprocess.run([BINARY, "task", *arguments], check=True, capture_output=True))

    execs: dict[str, Callable[[], float]] = {
        "engine (Go)": lambda: engine.ask("exec"),
        "command line": lambda: cli("exec", task, "--", *COMMAND),
        "Python": lambda: timed(lambda: p.exec_task(task, command=COMMAND)),
        "Python, asyncio": lambda: timed(lambda: loop.run_until_complete(later.exec_task(task, command=COMMAND))),
        "MCP, stdio (by a shell)": lambda: tool("task_exec", command="true"),
        "E2B, HTTP": lambda: timed(e2b.exec),
    }
    statuses: dict[str, Callable[[], float]] = {
        "engine (Go)": lambda: engine.ask("status"),
        "command line": lambda: cli("status", task),
        "Python": lambda: timed(lambda: p.status_task(task)),
        "Python, asyncio": lambda: timed(lambda: loop.run_until_complete(later.status_task(task))),
        "MCP, stdio": lambda: tool("task_status"),
    }
    if script:
        execs["TypeScript"] = lambda: script.ask("exec")
        statuses["TypeScript"] = lambda: script.ask("status")
    try:
        print(f"mcp serve, idle: {memory(mcp.process.pid, 'Rss') / 1024:.1f} MiB resident; medians of {rounds}")
        table("a task's status, without a guest", measure(rounds, statuses))
        table("/bin/true in a task", measure(rounds, execs))
    finally:
        for each in (engine, script, mcp, e2b):
            if each:
                each.close()
        loop.run_until_complete(later.close())
        p.delete_task(task)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    subprocess.run(["go", "build", "-trimpath", "-o", "bin/bench-engine", "./bench/engine"], cwd=ROOT, check=True)
    os.environ["PYRO_BINARY"] = BINARY
    loop = asyncio.new_event_loop()
    with Pyro(binary=BINARY) as p, tempfile.TemporaryDirectory() as scratch:
        faces(rounds, p, scratch, loop)
    print()
    for path in sorted(glob.glob(str(ROOT / "dist" / "*.whl")) + glob.glob(str(ROOT / "dist" / "*.tgz"))):
        print(f"{os.path.basename(path)}: {os.path.getsize(path) / (1 << 10):,.0f} KiB")


if __name__ == "__main__":
    main()
