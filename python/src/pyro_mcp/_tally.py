"""How a run of many jobs gets on, for people: a line while it runs, and a summary when it has ended."""

from __future__ import annotations

import collections
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._jobs import Result

WINDOW_SECONDS = 30.0  # the rate is that of the last results, not of the whole run: pulls and breaks do not spoil it
EXAMPLES = 3  # failures of each kind that the summary names
WIDTH = 20  # characters of the bar


class Tally:
    """Counts results, shows how a run gets on, and sums it up."""

    def __init__(self, total: int, show: bool) -> None:
        self.total = total
        self.counts: collections.Counter[str] = collections.Counter()
        self.resumed = 0
        self.retried = 0
        self.failed: dict[str, list[Result]] = {}
        self._hosts: collections.Counter[str] = collections.Counter()
        self._began = self._shown = time.monotonic()
        self._recent: collections.deque[float] = collections.deque()
        self._seconds = 0.0
        self._show = show
        self._terminal = show and sys.stderr.isatty()

    def add(self, r: Result) -> None:
        """Count a result, and show how the run gets on now and then."""
        now = time.monotonic()
        self.counts[r.failure] += 1
        if r.resumed:
            self.resumed += 1
        else:
            self._hosts[r.host or "nowhere"] += 1
            self._seconds += r.seconds
            self._recent.append(now)
        if r.failure and len(self.failed.setdefault(r.failure, [])) < EXAMPLES:
            self.failed[r.failure].append(r)
        if self._show:
            self._tell(now)

    def again(self) -> None:
        """Count a job that is to be done again."""
        self.retried += 1

    @property
    def done(self) -> int:
        """How many jobs have a result."""
        return sum(self.counts.values())

    def rate(self, now: float) -> float:
        """How many jobs a second have ended of late."""
        while len(self._recent) > 1 and now - self._recent[0] > WINDOW_SECONDS:
            self._recent.popleft()
        since = max(self._began, now - WINDOW_SECONDS)
        return len(self._recent) / (now - since) if now > since else 0.0

    def line(self, now: float) -> str:
        """Give one line: how many, how fast, what failed, how long yet."""
        rate = self.rate(now)
        full = WIDTH * self.done // self.total if self.total else WIDTH
        parts = [f"[{'#' * full}{'.' * (WIDTH - full)}] {self.done} of {self.total}", f"{rate:.1f} a second"]
        parts += [f"{n} {kind}" for kind, n in sorted(self.counts.items()) if kind]
        if self.retried:
            parts.append(f"{self.retried} tried again")
        if rate and self.done < self.total:
            parts.append(f"about {duration((self.total - self.done) / rate)} left")
        return ", ".join(parts)

    def summary(self) -> str:
        """Say in a few lines what was done where, how fast, and what failed and why."""
        elapsed = time.monotonic() - self._began
        new = self.done - self.resumed
        lines = [f"{self.done} of {self.total} jobs done, {self.counts['']} as they should"]
        if self.resumed:
            lines[0] += f", {self.resumed} of them in an earlier run"
        if new:
            lines.append(
                f"{new} in {duration(elapsed)}, {new / max(elapsed, 1e-9):.1f} a second, {self._seconds / new:.2f} s each; "
                + ", ".join(f"{n} on {host}" for host, n in self._hosts.most_common(5))
                + (f" and {len(self._hosts) - 5} hosts more" if len(self._hosts) > 5 else ""))
        if self.retried:
            lines.append(f"tried again after failures of machines: {self.retried}")
        for kind, results in sorted(self.failed.items()):
            lines.append(f"{self.counts[kind]} {kind}:")
            lines += [f"  {r.key}: {r.message}" for r in results]
            if self.counts[kind] > len(results):
                lines.append(f"  and {self.counts[kind] - len(results)} more")
        return "\n".join(lines)

    def _tell(self, now: float) -> None:
        last = self.done == self.total
        if self._terminal and (last or now - self._shown > 0.2):
            sys.stderr.write("\r\x1b[K" + self.line(now) + ("\n" if last else ""))
        elif not self._terminal and (last or now - self._shown > WINDOW_SECONDS):
            sys.stderr.write(self.line(now) + "\n")
        else:
            return
        self._shown = now
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """Write a length of time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
