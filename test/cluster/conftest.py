"""A Slurm of our own: slurmctld and two slurmd on this machine, with their own keys and directories."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={control}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
ReturnToService=2
SlurmdTimeout=20
KillWait=5
MinJobAge=300
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
JobRequeue=1
NodeName=node[0-1] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{node0},{node1}] CPUs=1 RealMemory=2048
PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP
"""


class Slurm:
    """What a test needs to know of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {"SLURM_CONF": str(directory / "slurm.conf")}

    def start(self, name: str, *words: str) -> None:
        with open(self.directory / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen(
                words, stdout=log, stderr=log, env={**os.environ, **self.environment}, start_new_session=True)

    def run(self, *words: str) -> str:
        environment = {**os.environ, **self.environment}
        return subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    def processes_of(self, node: str | None = None) -> list[int]:
        """The processes of its batch jobs, or of those of one node: those whose environment says so."""
        wanted = {f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()}
        if node is not None:
            wanted.add(f"SLURMD_NODENAME={node}".encode())
        found = []
        for proc in Path("/proc").iterdir():
            try:
                if proc.name.isdigit() and wanted <= set((proc / "environ").read_bytes().split(b"\0")):
                    found.append(int(proc.name))
            except OSError:
                continue
        return found

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for left in set(self.processes_of()) - {os.getpid()}:  # a batch job's end asks daemons that are gone
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def daemon(name: str) -> str:
    """Find a program that an ordinary user's PATH may not lead to."""
    return shutil.which(name) or f"/usr/sbin/{name}"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """Start it; jobs see the environment of the test."""
    directory = tmp_path / "slurm"
    for name in ("state", "spool-node0", "spool-node1"):
        (directory / name).mkdir(parents=True)
    (directory / "slurm.conf").write_text(CONFIGURATION.format(
        directory=directory, host=socket.gethostname().split(".")[0], user=getpass.getuser(),
        control=free_port(), node0=free_port(), node1=free_port()))
    (directory / "munge.key").write_bytes(os.urandom(1024))
    (directory / "munge.key").chmod(0o400)
    s = Slurm(directory)
    d = str(directory)
    try:
        s.start(
            "munged", daemon("munged"), "--foreground", "--force", f"--socket={d}/munge.socket",
            f"--key-file={d}/munge.key", f"--pid-file={d}/munged.pid", f"--log-file={d}/munged.log",
            f"--seed-file={d}/munged.seed")
        wait_until(lambda: (directory / "munge.socket").exists())
        s.start("slurmctld", daemon("slurmctld"), "-D", "-c")
        for node in ("node0", "node1"):
            s.start(node, daemon("slurmd"), "-D", "-N", node)
        wait_until(lambda: s.run("sinfo", "-h", "-N", "-t", "idle").count("\n") == 2)
        for name, value in s.environment.items():
            monkeypatch.setenv(name, value)
        yield s
    finally:
        s.stop()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """Two Ray nodes."""
    from ray_nodes import World

    w = World(tmp_path)
    yield w
    w.close()


def wait_until(true: object, limit: float = 60) -> None:
    """Wait for something that starts, or is on its way."""
    deadline = time.monotonic() + limit
    while True:
        try:
            if true():  # type: ignore[operator]
                return
        except (OSError, subprocess.CalledProcessError):
            pass
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.05)


def supervisors(state: Path) -> list[str]:
    """The processes that supervise VMs below a state directory."""
    found = []
    for proc in Path("/proc").iterdir():
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"supervise" in words and any(word.startswith(bytes(state)) for word in words):
            found.append(proc.name)
    return found
