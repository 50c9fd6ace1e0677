"""Jobs under a real Slurm with two nodes on this machine."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Slurm, supervisors, wait_until

import pyro_mcp.slurm as slurm_jobs

JOBS = int(os.environ.get("PYRO_TEST_CLUSTER_JOBS", "200"))
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
            for process in slurm.processes_of("node0"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(os.getpgid(process), 9)
    assert sorted(r.index for r in seen) == list(range(JOBS)), "each job once"
    assert all(r.ok for r in seen), [r for r in seen if not r.ok][:1]


SCRIPT = """#!/bin/sh
#SBATCH --array=0-1 --cpus-per-task=1 --mem=600M --output={directory}/out-%a {options}
export PYRO_STATE_DIR={directory}/state/$SLURM_ARRAY_TASK_ID
exec {pyro} run debian:12 --mem-mib 512 --timeout-seconds 600 -- \\
    sh -c 'trap "echo told to end; exit 3" TERM; echo started; while :; do sleep 0.1; done'
"""


@pytest.mark.parametrize("by", ["scancel", "a time limit"])
def test_sbatch(slurm: Slurm, tmp_path: Path, by: str) -> None:
    """An array of plain pyro runs: their commands hear of a time limit, and nothing is left of them."""
    script = tmp_path / "job.sh"
    options = "" if by == "scancel" else "--time=2 --signal=B:TERM@60"
    script.write_text(SCRIPT.format(directory=tmp_path, pyro=os.environ["PYRO_BINARY"], options=options))
    number = slurm.run("sbatch", "--parsable", str(script)).strip()
    outputs = [tmp_path / f"out-{n}" for n in range(2)]
    wait_until(lambda: all(path.read_text().startswith("started\n") for path in outputs), 100)
    if by == "scancel":
        slurm.run("scancel", number)
    wait_until(lambda: not slurm.run("squeue", "-h").strip(), 200)
    assert ["told to end" in path.read_text() for path in outputs] == [True, True]
    wait_until(lambda: not left(tmp_path / "state"))


def test_a_batch_is_ended(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch job of map's ends what it runs."""
    monkeypatch.setenv("PYRO_STATE_DIR", str(tmp_path / "state"))
    run = tmp_path / "run"
    results = slurm_jobs.map(
        [1], output=run, retries=0, **{**OPTIONS, "timeout_seconds": 600},
        command="trap 'echo; exit 3' TERM; echo started >&2; while :; do sleep 0.1; done")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(list, results)
        wait_until(lambda: bool(supervisors(tmp_path)))
        slurm.run("scancel", "--state=RUNNING", "--user", getpass.getuser())
        assert [r.failure for r in running.result(120)] == ["guest_lost"]
    wait_until(lambda: not supervisors(tmp_path))


def left(state: Path) -> list[str]:
    """What VMs, or processes of theirs, there are yet."""
    vms = [str(vm) for vm in state.glob("*/vms/*") if not vm.name.startswith(".")]
    return vms + supervisors(state)
