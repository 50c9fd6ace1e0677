"""A REPL, a debugger and a background command, driven by the official Python client, on real guests."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from mcp import Client
from test_mcp_client import ENVIRONMENT, call, over_stdio

PROGRAM = """\
def total(items):
    result = 0
    for item in items:
        result += item
    return result
print("the total is", total([1, 2, 3]))
"""


class Shell:
    """A program on a terminal, as a model drives it."""

    def __init__(self, client: Client, task: str, opened: dict[str, Any]) -> None:
        self.client = client
        self.names = {"task_id": task, "command_id": opened["command_id"]}
        self.cursor = 0

    async def say(self, keys: str) -> None:
        await call(self.client, "shell_write", **self.names, input=keys)

    async def see(self, text: str) -> str:
        """Read until a text is there."""
        seen, end = "", time.monotonic() + 90
        while text not in seen:
            assert time.monotonic() < end, f"{text!r} is not in {seen!r}"
            read = await call(self.client, "shell_read", **self.names, cursor=self.cursor)
            seen, self.cursor = seen + read["output"], read["cursor"]
            assert read["ended_at"] is None or text in seen, f"{text!r} is not in {seen!r}, and it has ended"
        assert "\x1b" not in seen and "\r" not in seen
        return seen


async def repl(client: Client, task: str) -> None:
    opened = await call(client, "shell_open", task_id=task, command="python3 -q")
    shell = Shell(client, task, opened)
    await shell.see(">>>")
    await shell.say("6*7\r")
    await shell.see("\n42\n>>>")
    # A line longer than the terminal is whole in what is read.
    await shell.say(f"len('{'x' * 100}')\r")
    assert f"len('{'x' * 100}')" in await shell.see("\n100\n>>>")
    await shell.say("while True: pass\r\r")
    await shell.see("...")
    await shell.say("\u0003")
    await shell.see("KeyboardInterrupt\n>>>")
    await shell.say("import time; time.sleep(600)\r")
    await shell.see("sleep(600)")
    await call(client, "shell_signal", **shell.names, signal="INT")
    await shell.see("KeyboardInterrupt\n>>>")
    await shell.say("7*7\r")
    await shell.see("\n49\n>>>")
    await shell.say("\u0004")
    ended = await call(client, "command_wait", **shell.names)
    assert (ended["state"], ended["exit_code"]) == ("exited", 0)


async def debugger(client: Client, task: str) -> None:
    await call(client, "task_exec", task_id=task, command=f"cat >program.py <<'E'\n{PROGRAM}E")
    opened = await call(client, "shell_open", task_id=task, command="python3 -m pdb program.py")
    shell = Shell(client, task, opened)
    await shell.see("(Pdb)")
    for typed, seen in (
        ("break 4", "Breakpoint 1 at"),
        ("continue", "result += item\n(Pdb)"),
        ("p item, result", "\n(1, 0)\n"),
        ("next", "(Pdb)"),
        ("p result", "\n1\n"),
        ("clear 1", "Deleted breakpoint 1"),
        ("continue", "the total is 6\nThe program finished"),
    ):
        await shell.say(typed + "\r")
        await shell.see(seen)
    closed = await call(client, "shell_close", **shell.names)
    assert closed["state"] == "stopped"


async def background(client: Client, task: str) -> None:
    started = await call(
        client, "task_exec", task_id=task, command="echo begun; read x; echo done; exit 3", background=True
    )
    names = {"task_id": task, "command_id": started["command_id"]}
    ended = await call(client, "command_wait", **names)
    assert (ended["kind"], ended["state"], ended["exit_code"]) == ("command", "exited", 3)
    assert (await call(client, "shell_read", **names))["output"] == "begun\ndone\n"


def test_shells(tmp_path: Path) -> None:
    async def talk() -> None:
        async with over_stdio(tmp_path, "auto") as client:
            task = (await call(client, "task_create", environment=ENVIRONMENT))["task_id"]
            try:
                await repl(client, task)
                await debugger(client, task)
                await background(client, task)
            finally:
                await call(client, "task_delete", task_id=task)

    asyncio.run(talk())
