"""Fifty attempts at one prepared repository, by fork, over two Ray nodes of this machine; and the same without forks.

Each node clones the repository and runs its tests once; an attempt goes on from there, applies its change, runs the
tests again and leaves their report. Run it by make bench-fork-map, with debian:12 installed:  bench/fork_map.py [ATTEMPTS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from client import ROOT

sys.path.insert(0, str(ROOT / "python" / "src"))
sys.path.insert(0, str(ROOT / "test" / "cluster"))

from ray_nodes import World

import pyro_mcp.ray as cluster

# A repository whose one test fails until the right answer is in it. It stands for one that is cloned.
PREPARE = r"""
set -e
git init -q project && cd project
git config user.name someone && git config user.email someone@example.org
printf 'def answer():\n    return 0\n' >project_code.py
cat >test_code.py <<'END'
import unittest
from project_code import answer
class Test(unittest.TestCase):
    def test_answer(self):
        self.assertEqual(answer() % 7, 3)
END
git add . && git commit -qm 'a start'
python3 -m unittest -q 2>/dev/null && exit 1
true
"""
ATTEMPT = r"""
cd project
n=$(sed 's/[^0-9]//g')
sed -i "s/return 0/return $n/" project_code.py
python3 -m unittest -v 2>../report; status=$?
git diff >../change
exit $status
"""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    attempts = [{"answer": n} for n in range(count)]
    with tempfile.TemporaryDirectory(prefix="pyro-bench-") as temporary:
        directory = Path(temporary)
        world = World(directory, nodes=2)
        try:
            for name, prepare, command in (
                ("by fork", PREPARE, ATTEMPT),
                ("prepared each time", "", "cat >job\n(" + PREPARE + ") && (" + ATTEMPT + ") <job"),
            ):
                some = attempts if prepare else attempts[: max(4, count // 5)]
                shape = {"environment": "debian:12", "mem_mib": 512, "timeout_seconds": 120, "progress": False,
                         "files": ["report", "change"], "command": command, "output": directory / name}
                began = time.monotonic()
                done = list(
                    cluster.fork_map(some, prepare=prepare, **shape) if prepare else cluster.map(some, **shape))
                took = time.monotonic() - began
                right = [r for r in done if r.ok]
                assert [r.job["answer"] % 7 for r in right] == [3] * len(right), "they that should pass"
                assert {r.failure for r in done} == {"", "exit_status"}, {r.failure for r in done}
                print(f"{name}: {len(done)} attempts on {len({r.host for r in done})} nodes, {len(right)} passed, "
                      f"{took:.0f} s, {len(done) / took:.2f} a second, "
                      f"median {statistics.median(r.seconds for r in done):.1f} s an attempt", flush=True)
                right[0].unpack(directory / "files" / name)
                assert "OK" in (directory / "files" / name / "report").read_text()
        finally:
            world.close()


if __name__ == "__main__":
    main()
