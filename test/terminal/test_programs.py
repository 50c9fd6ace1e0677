"""Programs that people use, on a terminal of a task's, seen on a screen of the host's tmux."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import WANTED, World
from screen import Tmux

HOST = r"^host\$ *$"
GUEST = r"^root@\S+:\S*# *$"


def bash(t: Tmux) -> None:
    t.see(GUEST)
    t.line("stty size; echo $TERM $((6*7))")
    t.see(r"^30 100$")
    t.see(r"^\S+ 42$")
    # Job control, and the keys that belong to the program.
    t.line("sh -c 'echo begun; exec sleep 1000'")
    t.see(r"^begun$")
    t.type("C-z")
    t.see(r"^\[1\]\+ +Stopped ")
    t.line("bg; jobs")
    t.see(r"^\[1\]\+ +Running ")
    t.line("clear; fg")
    t.see(r"^sh -c 'echo begun; exec sleep 1000'$")
    t.type("C-c")
    t.line("echo ended with $?")
    t.see(r"^ended with 130$")
    # Editing, completion, history.
    t.type("ecoh", "Space", "wrong", "C-a", "Right", "Right", "Right", "C-t", "End", "C-w", "fine", "Enter")
    t.see(r"^fine$")
    t.type("C-r", "6*7")
    t.see(r"reverse-i-search")
    t.type("C-g")
    t.resize(20, 60)
    t.line('until test "$(stty size)" = "20 60"; do :; done; stty size')
    t.see(r"^20 60$")
    t.resize(30, 100)
    t.line("exit 7")


def vi(t: Tmux) -> None:
    t.see(r"^~")
    t.type("i", "first", "Enter", "second", "Escape", "yyp", "k", "dd")
    t.see(r"^first\n(second|~)")
    t.type("O", "grüße €", "Escape")
    t.see("grüße €")
    t.type(":wq", "Enter")


def top(t: Tmux) -> None:
    t.see(r"load average")
    t.see(r"PID +USER")
    t.type("h")
    t.see(r"Help for Interactive Commands")
    t.type("Escape")
    t.see(r"PID +USER")
    t.type("q")


def less(t: Tmux) -> None:
    t.see(r"^line 1$")
    t.type("Space")
    t.see(r"^line 40$")
    t.type("/line 777", "Enter")
    t.see(r"^line 777$")
    t.type("G")
    t.see(r"^line 1000$")
    t.type("g")
    t.see(r"^line 1$")
    t.type("q")


def python(t: Tmux) -> None:
    t.see(r"^>>> *$")
    t.line("print(6*7)")
    t.see(r"^42$")
    t.line("while True: pass")
    t.see(r"^\.\.\. *$")
    t.type("Enter")
    t.type("C-c")
    t.see(r"^KeyboardInterrupt$")
    t.type("prnt", "Left", "Left", "i", "End", "(7*7)", "Enter")
    t.see(r"^49$")
    t.type("C-d")


def htop(t: Tmux) -> None:
    t.see(r"PID.*USER")
    t.see(r"F10Quit")
    t.type("F5")
    t.type("F10")


def tmux_inside(t: Tmux) -> None:
    t.see(r"^\[.*\] 0:")
    t.line("echo $((6*7)) inside")
    t.see(r"^42 inside$")
    t.type("C-b", '"')
    t.line("echo $((7*7)) below")
    t.see(r"^49 below$")
    t.see(r"^─{20}")
    t.type("C-b", "&")
    t.see(r"kill-window")
    t.type("y")


def nano(t: Tmux) -> None:
    t.see(r"GNU nano")
    t.type("some text", "C-x")
    t.see(r"Save modified buffer")
    t.type("n")


def gdb(t: Tmux) -> None:
    t.see(r"^\(gdb\) *$")
    t.line("break main")
    t.see(r"pending on future shared library")
    t.line("n")
    t.line("print 6*7")
    t.see(r"^\$1 = 42$")
    t.line("quit")


def sqlite(t: Tmux) -> None:
    t.see(r"^sqlite> *$")
    t.line("select 6*7; ")
    t.see(r"^42$")
    t.type("C-d")


# The program's command line, what a person does in it, and the exit status that it then has.
PROGRAMS: dict[str, tuple[str, Callable[[Tmux], None], int]] = {
    "bash": ("bash", bash, 7),
    "vim-tiny": ("sh -c 'rm -f text; vi text && grep -q grüße text'", vi, 0),
    "top": ("top", top, 0),
    "less": ("sh -c 'seq -f \"line %.0f\" 1000 | less'", less, 0),
    "python": ("python3 -q", python, 0),
    "htop": ("htop", htop, 0),
    "tmux": ("tmux -f /dev/null", tmux_inside, 0),
    "nano": ("nano", nano, 0),
    "gdb": ("gdb -q -ex 'set debuginfod enabled off' true", gdb, 0),
    "sqlite3": ("sqlite3", sqlite, 0),
}

TRIED = [name for name in PROGRAMS if name in ["bash", "top", "python", *WANTED]]


@pytest.mark.parametrize("name", TRIED)
def test_program(name: str, world: World, task: str, tmux: Tmux) -> None:
    line, person, status = PROGRAMS[name]
    modes, settings = tmux.modes(), tmux.settings()
    tmux.line(f"{world.binary} task exec -it {task} -- {line}; echo status $?")
    person(tmux)
    tmux.see(rf"^status {status}$")
    tmux.see(HOST)
    assert tmux.modes() == modes
    assert tmux.settings() == settings
