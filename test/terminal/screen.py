"""Terminals of this host: one of tmux, which shows a screen, and a bare one, which shows bytes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import uuid
from collections.abc import Sequence

LIMIT = 90.0  # seconds that anything may take on a busy machine


class Tmux:
    """A screen of tmux's with the host's shell in it. Keys are tmux's names, such as C-c, or texts."""

    def __init__(self, env: dict[str, str], rows: int = 30, cols: int = 100) -> None:
        assert shutil.which("tmux"), "tmux is missing: run 'make setup-test'"
        self.socket = f"pyro-{uuid.uuid4().hex[:12]}"
        self.env = {**env, "ENV": "", "LC_ALL": "C.UTF-8"}
        size = ["-x", str(cols), "-y", str(rows)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "/bin/sh")
        self.line("PS1='host$ '; clear")
        self.see(r"^host\$ *$")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self.socket, *words], env=self.env, capture_output=True, text=True, check=True
        )
        return done.stdout

    def type(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def line(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def see(self, pattern: str, limit: float = LIMIT) -> str:
        """Wait until a line of the screen matches."""
        end = time.monotonic() + limit
        while True:
            text = self.text()
            if re.search(pattern, text, re.MULTILINE):
                return text
            assert time.monotonic() < end, f"{pattern!r} is not to be seen on\n{text}"
            time.sleep(0.05)

    def resize(self, rows: int, cols: int) -> None:
        self._tmux("resize-window", "-x", str(cols), "-y", str(rows))

    def modes(self) -> dict[str, str]:
        """What a program may leave switched on."""
        names = ["alternate_on", "cursor_flag", "mouse_any_flag", "keypad_cursor_flag", "bracket_paste_flag"]
        form = " ".join(f"#{{{name}}}" for name in names)
        return dict(zip(names, self._tmux("display-message", "-p", form).strip().split(" "), strict=False))

    def settings(self) -> str:
        """The line settings of the screen's terminal."""
        path = self._tmux("display-message", "-p", "#{pane_tty}").strip()
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            return repr(termios.tcgetattr(fd))
        finally:
            os.close(fd)

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], env=self.env, capture_output=True)


class Bare:
    """A program on a terminal of its own. Nothing interprets what it writes."""

    def __init__(self, argv: Sequence[str], env: dict[str, str], rows: int = 24, cols: int = 80) -> None:
        self.fd, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        self.before = termios.tcgetattr(far)
        self.far = far  # held open, so that the terminal outlives the program

        def enter() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            list(argv), stdin=far, stdout=far, stderr=far, env=env, start_new_session=True, preexec_fn=enter
        )
        self.seen = b""

    def _read(self, limit: float) -> bool:
        if not select.select([self.fd], [], [], max(0.0, limit))[0]:
            return False
        self.seen += os.read(self.fd, 65536)
        return True

    def see(self, pattern: bytes, limit: float = LIMIT) -> bytes:
        """Wait until what was written since the last match matches, and forget all up to its end."""
        end = time.monotonic() + limit
        while True:
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end() :]
                return found[0]
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{pattern!r} is not in {self.seen[-2000:]!r}")

    def type(self, keys: bytes) -> None:
        while keys:
            keys = keys[os.write(self.fd, keys[:512]) :]

    def wait(self) -> int:
        """The exit status. What the program still writes is read meanwhile."""
        end = time.monotonic() + LIMIT
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.seen[-2000:]!r}"
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def stopped(self) -> None:
        """Wait until it is suspended, and read what it has written before."""
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        while self._read(0):
            pass

    def settings(self) -> list[object]:
        return list(termios.tcgetattr(self.far))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(30)
        os.close(self.fd)
        os.close(self.far)
