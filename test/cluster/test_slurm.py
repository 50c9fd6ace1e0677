"""Jobs under a real Slurm with two nodes on this machine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Slurm, wait_until

import pyro_mcp.slurm as slurm_jobs

JOBS = int(os.environ.get("PYRO_TEST_CLUSTER_JOBS", "40"))
OPTIONS: dict[str, Any] = {
    "environment": "debian:12", "mem_mib": 512, "progress": False, "timeout_seconds": 60,
}


def test_an_array(slurm: Slurm, tmp_path: Path) -> None:
    jobs = [{"n": n} for n in range(8)]
    results = list(slurm_jobs.map(
        jobs, command='read -r job; echo "$job"; case $job in *3*) exit 3 ;; esac', output=tmp_path / "run",
        ordered=True, jobs_per_batch=4, **OPTIONS))
    assert [json.loads(r.stdout) for r in results] == jobs
    assert [r.failure for r in results] == ["", "", "", "exit_status", "", "", "", ""]


def test_a_node_is_lost(slurm: Slurm, tmp_path: Path) -> None:
    seen = []
    for result in slurm_jobs.map(
        [{"n": n} for n in range(JOBS)], command="cat", output=tmp_path / "run", jobs_per_batch=5, **OPTIONS
    ):
        seen.append(result)
        if len(seen) == JOBS // 4:
            slurm.processes["node0"].kill()
            for step in stepds(slurm, "node0"):
                os.killpg(os.getpgid(step), 9)
    assert sorted(r.index for r in seen) == list(range(JOBS)), "each job once"
    assert all(r.ok for r in seen), [r for r in seen if not r.ok][:1]


def stepds(slurm: Slurm, node: str) -> list[int]:
    """The processes of a node's batch jobs: those whose environment names it."""
    found = []
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit():
            continue
        try:
            environment = (proc / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        configuration = slurm.environment["SLURM_CONF"]
        if {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={configuration}".encode()} <= set(environment):
            found.append(int(proc.name))
    return found


def test_sbatch_and_scancel(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/many-machines.md shows: an array of plain pyro runs, and nothing left after scancel."""
    state = tmp_path / "state"
    script = tmp_path / "job.sh"
    script.write_text(f"""#!/bin/sh
#SBATCH --array=0-1 --cpus-per-task=1 --mem=600M --output={tmp_path}/out-%a
export PYRO_STATE_DIR={state}/$SLURM_ARRAY_TASK_ID
exec {os.environ["PYRO_BINARY"]} run debian:12 --mem-mib 512 --timeout-seconds 600 -- \\
    sh -c 'echo started; sleep 500'
""")
    number = slurm.run("sbatch", "--parsable", str(script)).strip()
    wait_until(lambda: all((tmp_path / f"out-{n}").read_text() == "started\n" for n in range(2)))
    slurm.run("scancel", number)
    wait_until(lambda: not slurm.run("squeue", "-h").strip())
    wait_until(lambda: not [vm for vm in state.glob("*/vms/*") if not vm.name.startswith(".")])
    assert not subprocess.run(["pgrep", "-f", f"supervise {state}"], stdout=subprocess.PIPE).stdout
