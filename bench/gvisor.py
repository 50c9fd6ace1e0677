"""What a guest in gVisor costs: a start beside runsc's own, and work beside the host and an emulated guest.

Run it with make bench-gvisor. The first run prepares an environment with compilers and Node.js and downloads a small
Python package, zlib's source from Debian and an npm project, in some minutes; from then on a run takes less than five,
most of them the emulated guest's. All run on the same root file system, without a network. BENCH_ROUNDS (default 3) is how
often each work is done on the host and in gVisor; the emulated guest does it once (BENCH_EMULATED=0 leaves it out).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from client import BINARY, ROOT, timed
from start import ENVIRONMENT, own_state, pyro

BASE = "debian:12-build"
PREPARED = "bench-gvisor"
RUNSC = ROOT / "bin" / "pyro-runsc"
CPUS = "2"

# Prints the seconds that some work took, as a shell does it.
TIMED = (
    "import subprocess, sys, time\nt = time.perf_counter()\n"
    "subprocess.run(['sh', '-ec', sys.argv[1]], check=True, stdout=subprocess.DEVNULL)\n"
    "print('took', time.perf_counter() - t)"
)

# How many times the host's own time each may take in gVisor, and the work.
WORK = {
    "a loop in the processor": (
        1.3,
        "python3 -c 'n = 0\nfor i in range(8_000_000):\n    n += i * i % 7'",
    ),
    "pip install, and the package's tests": (
        2.5,
        "rm -rf /var/tmp/p; cp -r /srv/python /var/tmp/p; cd /var/tmp/p; python3 -m venv v; "
        "v/bin/pip install -q --no-index -f wheels click pytest; cd click-*; ../v/bin/python -m pytest -q tests",
    ),
    "zlib from Debian's source, and its tests": (
        2.5,
        "rm -rf /var/tmp/z; mkdir /var/tmp/z; cd /var/tmp/z; tar xf /srv/zlib_*.orig.tar.*; cd zlib*; "
        "./configure; make -j2; make test",
    ),
    "npm ci, and the project's tests": (
        2.5,
        "rm -rf /var/tmp/n; cp -r /srv/npm /var/tmp/n; cd /var/tmp/n; npm ci --offline --cache cache; npm test",
    ),
}

FILES = (
    "import os, shutil, time\nshutil.rmtree('/var/tmp/f', ignore_errors=True)\nos.makedirs('/var/tmp/f')\n"
    "t = time.perf_counter()\nfor i in range(10_000):\n    with open(f'/var/tmp/f/{i}', 'w') as f:\n"
    "        f.write('x' * 1000)\nprint('took', time.perf_counter() - t)\nshutil.rmtree('/var/tmp/f')"
)

PREPARE = """
sed -i 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/*
apt-get update -qq
apt-get install -y -qq --no-install-recommends nodejs
mkdir -p /usr/local/lib/node_modules/npm
tar -C /usr/local/lib/node_modules/npm --strip-components=1 -xzf npm-*.tgz
ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
cp -r python npm /srv
cd /srv
apt-get source -qq --download-only zlib
rm -rf /workspace/* /var/cache/apt/archives/*.deb
"""


def download(to: Path) -> None:
    """A small package with its tests and what they need, and a project with a lock file and npm's cache."""
    python, npm = to / "python", to / "npm"
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    pure = ["--only-binary", ":all:", "--python-version", "3.11"]
    subprocess.run([*pip, *pure, "-d", str(python / "wheels"), "click==8.1.7", "pytest==8.3.4"], check=True)
    subprocess.run([*pip, "--no-deps", "--no-binary", "click", "-d", str(python), "click==8.1.7"], check=True)
    (source,) = python.glob("click-*.tar.gz")
    subprocess.run(["tar", "-C", str(python), "-xzf", str(source)], check=True)
    source.unlink()
    npm.mkdir()
    (npm / "package.json").write_text(
        json.dumps(
            {
                "name": "bench",
                "version": "1.0.0",
                "scripts": {"test": "mocha test.js"},
                "devDependencies": {"mocha": "10.8.2"},
                "dependencies": {"lodash": "4.17.21"},
            }
        )
    )
    (npm / "test.js").write_text(
        "const _ = require('lodash'), assert = require('assert')\n"
        "for (let i = 0; i < 200; i++) it(`sorts ${i}`, () => {\n"
        "  const a = _.shuffle(_.range(1000))\n  assert.deepEqual(_.sortBy(a), _.range(1000))\n})\n"
    )
    # The guest's npm fills the cache, for others keep theirs otherwise. Debian's is 400 packages.
    subprocess.run(["npm", "pack", "--silent", "npm@9.9.4", "--pack-destination", str(to)], check=True)
    tool = to.parent / "npm"
    tool.mkdir()
    subprocess.run(["tar", "-C", str(tool), "-xzf", str(to / "npm-9.9.4.tgz")], check=True)
    install = ["node", str(tool / "package/bin/npm-cli.js"), "install", "--silent", "--no-audit"]
    subprocess.run([*install, "--cache", "cache"], cwd=npm, check=True)
    shutil.rmtree(npm / "node_modules")


def prepare(scratch: Path) -> None:
    """Makes the environment once."""
    installed = json.loads(pyro("env", "list", "--json"))["environments"]
    if any(e["name"] == PREPARED and e["installed"] for e in installed):
        return
    pyro("-q", "env", "pull", BASE)
    seed = scratch / "seed"
    download(seed)
    made = pyro(
        "-q",
        "task",
        "create",
        "--isolation",
        "gvisor",
        "--network",
        "--vcpu-count",
        CPUS,
        "--mem-mib",
        "4096",
        "--source-path",
        str(seed),
        BASE,
    )
    task = made.strip()
    try:
        pyro(
            "task",
            "exec",
            task,
            "--timeout-seconds",
            "1200",
            "--",
            "sh",
            "-ec",
            PREPARE,
        )
        pyro("-q", "task", "commit", task, PREPARED)
    finally:
        pyro("-q", "task", "delete", task)


def extract(environment: str, to: Path) -> Path:
    image = json.loads(pyro("env", "inspect", environment, "--json"))["image_path"]
    subprocess.run(["fsck.erofs", f"--extract={to}", image], check=True, capture_output=True)
    return to


def starts(scratch: Path, rounds: int) -> None:
    """The same command on the same root, by pyro and by runsc alone."""
    place = scratch / "bundle"
    place.mkdir()
    extract(ENVIRONMENT, place / "rootfs")
    (place / "config.json").write_text(
        json.dumps(
            {
                "ociVersion": "1.0.2",
                "root": {"path": "rootfs"},
                "process": {"args": ["/bin/true"], "cwd": "/", "env": [], "user": {"uid": 0, "gid": 0}},
                "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
                "linux": {
                    "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]
                },
            }
        )
    )
    flags = ["--root", str(scratch / "runsc"), "--rootless", "--ignore-cgroups", "--network=none"]

    def alone() -> None:
        subprocess.run(
            [str(RUNSC), *flags, "run", "--bundle", str(place), "bench"], check=True, stdin=subprocess.DEVNULL
        )

    def ours() -> None:
        pyro("-q", "run", "--isolation", "gvisor", ENVIRONMENT, "--", "true")

    ours()  # the image's second form is made once
    times: dict[str, list[float]] = {"runsc": [], "pyro": []}
    for _ in range(rounds):
        times["runsc"].append(timed(alone))
        times["pyro"].append(timed(ours))
    subprocess.run(["umount", str(scratch / "runsc" / "null-netns")], check=False)  # which runsc leaves, as root
    runsc, own = (statistics.median(times[name]) for name in ("runsc", "pyro"))
    print(
        f"start and run true: runsc run {runsc:.0f} ms, pyro run {own:.0f} ms, {own / runsc:.2f} times"
        " (2.0 at most)"
    )


def took(*words: str) -> float:
    done = subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.rsplit("took", 1)[1])


def runners(root: Path) -> dict[str, Callable[..., float]]:
    """Ways to have Python do something: on the host's kernel, in gVisor, and in an emulated machine."""
    host = [
        "bwrap",
        "--bind",
        str(root),
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--tmpfs",
        "/tmp",
        "--clearenv",
        "--setenv",
        "PATH",
        "/usr/local/bin:/usr/bin:/bin",
        "--setenv",
        "HOME",
        "/root",
        "--unshare-net",
    ]

    def guest(*flags: str) -> Callable[..., float]:
        shape = ["--vcpu-count", CPUS, "--mem-mib", "4096", "--timeout-seconds", "900"]
        return lambda *words: took(BINARY, "-q", "run", *flags, *shape, PREPARED, "--", *words)

    return {
        "host": lambda *words: took(*host, *words),
        "gvisor": guest("--isolation", "gvisor"),
        "tcg": guest("--isolation", "vm", "--accelerator", "tcg"),
    }


def working(root: Path, rounds: int) -> None:
    ways = runners(root)
    emulated = os.environ.get("BENCH_EMULATED") != "0"
    jobs: dict[str, tuple[float, tuple[str, ...]]] = {
        name: (most, ("python3", "-c", TIMED, work)) for name, (most, work) in WORK.items()
    }
    jobs["10,000 files written"] = (0.0, ("python3", "-c", FILES))
    for name, (most, words) in jobs.items():
        times: dict[str, list[float]] = {"host": [], "gvisor": []}
        for _ in range(rounds):
            for way in times:
                times[way].append(ways[way](*words))
        host, gvisor = (statistics.median(times[way]) for way in ("host", "gvisor"))
        bound = f"{most} at most" if most else "3 s at most"
        line = f"{name}: host {host:.2f} s, gvisor {gvisor:.2f} s, {gvisor / host:.2f} times ({bound})"
        if emulated:
            tcg = ways["tcg"](*words)
            line += f"; emulated {tcg:.1f} s, {tcg / host:.1f} times"
        print(line, flush=True)


def main() -> None:
    os.environ.setdefault("PYRO_RUNSC", str(RUNSC))
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    with own_state() as scratch:
        prepare(scratch)
        starts(scratch, 5 * rounds)
        working(extract(PREPARED, scratch / "root"), rounds)


if __name__ == "__main__":
    main()
