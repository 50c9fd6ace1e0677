"""Measures terminals and background commands of one task: python3 bench/terminal.py [PYRO [SHELLS [COMMANDS]]].

Prints a table. It takes two to four minutes with 64 shells and 100 commands, on an idle machine.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import statistics
import subprocess
import sys
import time

PYRO = sys.argv[1] if len(sys.argv) > 1 else "bin/pyro"
SHELLS = int(sys.argv[2]) if len(sys.argv) > 2 else 64
COMMANDS = int(sys.argv[3]) if len(sys.argv) > 3 else 100
EACH = (1 << 30) // 100  # bytes that a command writes

# What the guest itself needs for a key: a shell on a terminal, without pyro in between.
INSIDE = r"""
import os, pty, select, statistics, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash"])
def read(text):
    seen = b""
    while text not in seen:
        select.select([fd], [], [], 10)
        seen += os.read(fd, 65536)
read(b"# ")
took = []
for key in b"abcdefghijklmnopqrst" * 5:
    began = time.perf_counter()
    os.write(fd, bytes([key]))
    read(bytes([key]))
    took.append((time.perf_counter() - began) * 1000)
print(statistics.median(took))
"""


def pyro(*words: str, stdin: str | None = None) -> str:
    done = subprocess.run([PYRO, "-q", *words], input=stdin, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Terminal:
    """A program on a terminal of this host."""

    def __init__(self, *words: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(PYRO, [PYRO, "-q", *words])

    def expect(self, text: bytes, limit: float = 60) -> None:
        seen, end = b"", time.monotonic() + limit
        while text not in seen:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise SystemExit(f"{text!r} was not seen: {seen[-200:]!r}")
            seen += os.read(self.fd, 65536)

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def close(self) -> None:
        # As a terminal that is closed does it: an interactive shell does not heed SIGTERM, and would be waited for.
        os.kill(self.pid, signal.SIGHUP)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def keys(terminal: Terminal) -> list[float]:
    took = []
    for key in b"abcdefghijklmnopqrst" * 5:
        began = time.perf_counter()
        terminal.type(bytes([key]))
        terminal.expect(bytes([key]))
        took.append((time.perf_counter() - began) * 1000)
    return took


def memory(pid: int) -> float:
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"Pss:\s+(\d+)", f.read())[1]) / 1024


def supervisor(task: str) -> int:
    return int(subprocess.check_output(["pgrep", "-f", f"supervise .*{task}"], text=True).split()[0])


def agent_memory(task: str) -> float:
    return int(pyro("task", "exec", task, "--", "awk", "/^VmRSS/{print $2}", "/proc/1/status")) / 1024


class Rows:
    """The table, printed as it grows."""

    def append(self, row: tuple[str, str]) -> None:
        print(f"{row[0]:<60} {row[1]}", flush=True)


def main() -> None:
    task = pyro("task", "create", "debian:12", "--ttl-seconds", "0")
    rows = Rows()
    try:
        inside = float(pyro("task", "exec", task, "--timeout-seconds", "120", "--", "python3", "-c", INSIDE))
        shell = Terminal("task", "exec", "-it", task, "--", "bash")
        shell.expect(b"# ")
        took = sorted(keys(shell))
        shell.close()
        rows.append(("a key in the guest alone, median", f"{inside:.1f} ms"))
        rows.append(("a key through pyro, median", f"{statistics.median(took):.1f} ms"))
        rows.append(("a key through pyro, 90 %", f"{took[int(len(took) * 0.9)]:.1f} ms"))
        name = pyro("task", "shell", "--detach", task)
        first = Terminal("task", "attach", task, name)
        first.expect(b"# ")
        first.close()
        attaching = []
        for _ in range(10):
            began = time.perf_counter()
            watcher = Terminal("task", "attach", task, name)
            watcher.expect(b"# ")
            attaching.append((time.perf_counter() - began) * 1000)
            watcher.close()
        rows.append(("attach to first output, median", f"{statistics.median(attaching):.0f} ms"))
        asking = []
        for _ in range(10):
            began = time.perf_counter()
            pyro("task", "command", "status", task, name)
            asking.append((time.perf_counter() - began) * 1000)
        rows.append(("for comparison: asking for its record, median", f"{statistics.median(asking):.0f} ms"))
        pyro("task", "command", "stop", task, name, "--grace-seconds", "0")
        before = memory(supervisor(task)), agent_memory(task)
        began = time.perf_counter()
        many = [Terminal("task", "exec", "-it", task, "--", "sh") for _ in range(SHELLS)]
        for each in many:
            each.expect(b"# ", 300)
        for each in many:
            each.type(b"echo $((6*7))\r")
        for each in many:
            each.expect(b"42", 300)
        rows.append((f"{SHELLS} shells at once, until all have answered", f"{time.perf_counter() - began:.1f} s"))
        for each in many:
            each.close()
        for i in range(COMMANDS):
            pyro("task", "exec", "-d", "--name", f"n{i}", task, "--", "sh", "-c", f"head -c {EACH} /dev/zero; exec sleep 1000")
        while True:
            listed = json.loads(pyro("task", "command", "list", task, "--json"))["commands"]
            done = sum(1 for c in listed if c["command_id"].startswith("n") and c["state"] == "running")
            written = pyro("task", "exec", task, "--", "sh", "-c", "pgrep -c -x head || true")
            if done == COMMANDS and written == "0":
                break
            time.sleep(1)
        rows.append((f"supervisor, before and with {COMMANDS} commands and {COMMANDS * EACH >> 20} MiB", f"{before[0]:.0f}, {memory(supervisor(task)):.0f} MiB"))
        rows.append((f"agent, before and with {COMMANDS} commands and {COMMANDS * EACH >> 20} MiB", f"{before[1]:.0f}, {agent_memory(task):.0f} MiB"))
    finally:
        pyro("task", "delete", task)


main()
