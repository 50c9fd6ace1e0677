"""However a program on a terminal ends, the caller's terminal is what it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from conftest import World
from screen import Bare

# A program that changes whatever a program may change, and tidies nothing up.
MESS = "stty raw -echo; printf '\\033[?1049h\\033[?25l\\033[?1000h\\033[?1006h\\033[?2004hbegun'; "
UNDONE = [b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?1006l", b"\x1b[?2004l"]


# A program that draws itself anew if its size changes.
DRAWS = """
import os, select, signal
signal.signal(signal.SIGWINCH, lambda *_: print(os.get_terminal_size()))
print("ready")
while True:
    if select.select([0], [], [], 0.1)[0]: print("got", input())
"""


@pytest.fixture
def mess(world: World) -> Iterator[Callable[[str], tuple[Bare, str]]]:
    """Start the program on a task of its own."""
    tasks: list[str] = []
    terminals: list[Bare] = []

    def start(then: str) -> tuple[Bare, str]:
        tasks.append(world.task())
        words = ["task", "exec", "-it", tasks[-1], "--", "sh", "-c", MESS + then]
        terminals.append(Bare([world.binary, *words], world.env))
        terminals[-1].see(rb"begun")
        return terminals[-1], tasks[-1]

    yield start
    for terminal in terminals:
        terminal.close()
    for task in tasks:
        world.run("task", "delete", task, check=False)


def restored(terminal: Bare) -> None:
    assert terminal.settings() == terminal.before
    for sequence in UNDONE:
        assert sequence in terminal.seen


def test_it_ends(mess: Callable[[str], tuple[Bare, str]]) -> None:
    terminal, _ = mess("exit 3")
    assert terminal.wait() == 3
    restored(terminal)


def test_its_machine_is_killed(world: World, mess: Callable[[str], tuple[Bare, str]]) -> None:
    terminal, task = mess("exec sleep 1000")
    os.kill(world.machine(task), signal.SIGKILL)
    assert terminal.wait() == 125
    restored(terminal)
    assert b"pyro: " in terminal.seen.split(UNDONE[0])[-1], "nothing says why, on the restored screen"


def test_its_supervisor_is_killed(world: World, mess: Callable[[str], tuple[Bare, str]]) -> None:
    terminal, task = mess("exec sleep 1000")
    os.kill(world.supervisor(task), signal.SIGKILL)
    assert terminal.wait() == 125
    restored(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_pyro_is_told_to_end(number: int, mess: Callable[[str], tuple[Bare, str]]) -> None:
    terminal, _ = mess("exec sleep 1000")
    terminal.process.send_signal(number)
    assert terminal.wait() == 128 + number
    restored(terminal)


def test_pyro_is_suspended(world: World, mess: Callable[[str], tuple[Bare, str]]) -> None:
    """While it is, the terminal is the shell's. After that, the program draws it anew."""
    terminal, _ = mess(f"exec python3 -u -c '{DRAWS}'")
    terminal.see(rb"ready")
    raw = terminal.settings()
    assert raw != terminal.before
    terminal.process.send_signal(signal.SIGTSTP)
    terminal.stopped()
    restored(terminal)
    terminal.seen = b""
    terminal.process.send_signal(signal.SIGCONT)
    terminal.see(rb"\x1b\[\?1049h")
    terminal.see(rb"columns=80, lines=24")
    assert terminal.settings() == raw
    terminal.type(b"typed\n")
    terminal.see(rb"got typed")


def test_a_shell_without_a_terminal(world: World) -> None:
    """Who starts one by hand is told how it gets a prompt; it runs all the same."""
    task = world.task()
    shell = Bare([world.binary, "task", "exec", task, "--", "bash"], world.env)
    shell.see(rb"bash has no terminal and shows no prompt; use -it")
    shell.type(b"exit 4\n")
    assert shell.wait() == 4
    shell.close()
    world.run("task", "delete", task)
