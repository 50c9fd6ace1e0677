"""Progress in a notebook, for calls without on_progress: one line below the cell, updated in its place."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._bridge import Handlers

SPACING = 0.2  # seconds between updates, at the least
MIB = 1 << 20


@contextmanager
def progress_shown(handlers: Handlers | None) -> Iterator[Handlers | None]:
    """Have a call's progress shown if it runs in a Jupyter kernel and is not told what to do with it."""
    if handlers is None or "progress" in handlers or not in_kernel():
        yield handlers
        return
    line = _Line()
    try:
        yield {**handlers, "progress": line.tell}
    finally:
        line.end()


def in_kernel() -> bool:
    """Tell whether a notebook's kernel runs this. IPython on a terminal is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


def text_of(progress: dict[str, Any]) -> str:
    """Give a moment of a pull as one line."""
    done, total = progress["bytes_done"] / MIB, progress["bytes_total"] / MIB
    parts = [progress["phase"]]
    if total:
        parts.append(f"{done / total:.0%}  {done:.1f} of {total:.1f} MiB")
    elif done:
        parts.append(f"{done:.1f} MiB")
    if progress["packages_total"]:
        parts.append(f"{progress['packages_done']} of {progress['packages_total']}")
    parts.append(progress.get("detail", ""))
    return "  ".join(part.replace("\n", " ") for part in parts if part)


class _Line:
    """The line. There is none before there is something to tell, and at the end it says what was told last."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = ""
        self._written = ""
        self._at = 0.0

    def tell(self, progress: dict[str, Any]) -> None:
        self._last = text_of(progress)
        if time.monotonic() - self._at >= SPACING:
            self._write()

    def end(self) -> None:
        if self._last != self._written:
            self._write()

    def _write(self) -> None:
        from IPython.display import display

        self._written, self._at = self._last, time.monotonic()
        content = {"text/plain": self._last}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
