"""Jobs under Slurm, each in a microVM of its own: the same as pyro_mcp.ray.map, over arrays of batch jobs.

Slurm places the jobs and knows their limits; submitit writes the batch scripts. Nobody needs to be root, and pyro
needs no daemon. Install with the extra: pip install 'pyro-mcp[slurm]'.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import submitit

from ._jobs import RETRIED, Command, Function, Plan, Result, Work, earlier, in_order, plan_of, work_of
from ._perform import perform
from ._storage import storage
from ._tally import Tally
from .errors import PyroError

__all__ = ["Result", "map"]

POLL_SECONDS = 1.0


def map(
    jobs: Iterable[Any],
    *,
    environment: str,
    output: str | os.PathLike[str],
    command: Command | None = None,
    function: Function | None = None,
    timeout_seconds: int = 30,
    ordered: bool = False,
    key: Callable[[Any], str] | None = None,
    files: Sequence[str] = (),
    retries: int = 3,
    jobs_per_batch: int = 20,
    batches_at_once: int = 256,
    slurm: Mapping[str, Any] | None = None,
    progress: bool = True,
    on_summary: Callable[[str], object] | None = None,
    **options: Any,
) -> Iterator[Result]:
    """Do each job in a guest, and give results as they come; see pyro_mcp.ray.map.

    Jobs go to Slurm in arrays of batch jobs of jobs_per_batch each, of which batches_at_once run at once. slurm holds
    what sbatch is to be told beside: {"slurm_partition": "short", "slurm_account": …}, by submitit's names.
    """
    plan = plan_of(environment, command, function, output, files, timeout_seconds, options)
    work = work_of(jobs, key)
    done, left = earlier(storage(plan.output), work)
    tally = Tally(len(work), progress)

    def counted() -> Iterator[Result]:
        for source in (done, _spread(plan, left, retries, jobs_per_batch, batches_at_once, dict(slurm or {}), tally)):
            for result in source:
                tally.add(result)
                yield result
        if on_summary is not None:
            on_summary(tally.summary())

    return in_order(counted()) if ordered else counted()


def batch(plan: Plan, work: Sequence[Work]) -> list[Result]:
    """Do some jobs, one after the other: what a batch job runs. Those that have a record are not done again."""
    node_local()
    done, left = earlier(storage(plan.output), work)
    # submitit passes over SIGTERM: with it, Slurm would wait and then kill what runs, and no guest would hear of it.
    usual = signal.signal(signal.SIGTERM, _end)
    try:
        return done + [perform(plan, w, host=os.environ.get("SLURMD_NODENAME", "")) for w in left]
    finally:
        signal.signal(signal.SIGTERM, usual)


def _end(number: int, frame: object) -> None:
    """End the job under way: its command gets SIGTERM, and what it runs is gone before this process is."""
    raise SystemExit(128 + number)


def node_local() -> None:
    """Keep this batch job's VMs in its own directory on its node, which Slurm removes, if it makes one."""
    scratch = os.environ.get("SLURM_TMPDIR")
    if scratch and "PYRO_STATE_DIR" not in os.environ:
        os.environ["PYRO_STATE_DIR"] = os.path.join(scratch, "pyro-state")


def _spread(
    plan: Plan, work: Sequence[Work], retries: int, jobs_per_batch: int, batches_at_once: int, slurm: dict[str, Any],
    tally: Tally,
) -> Iterator[Result]:
    """Submit arrays until all is done; jobs that pyro itself failed, or whose batch is lost, go into the next."""
    for left_tries in range(retries, -1, -1):
        again: list[Work] = []
        for w, result in _array(plan, work, jobs_per_batch, batches_at_once, slurm):
            if result.failure in RETRIED and left_tries:
                tally.again()
                again.append(w)
            else:
                yield result
        if not again:
            return
        work = again


def _array(
    plan: Plan, work: Sequence[Work], jobs_per_batch: int, batches_at_once: int, slurm: dict[str, Any]
) -> Iterator[tuple[Work, Result]]:
    if not work:
        return
    executor = submitit.AutoExecutor(folder=os.path.join(plan.output, "slurm"), cluster="slurm")
    batches = [list(work[i : i + jobs_per_batch]) for i in range(0, len(work), jobs_per_batch)]
    minutes = 5 + len(batches[0]) * (plan.timeout_seconds + 30) // 60
    executor.update_parameters(**{
        "cpus_per_task": plan.cpus, "slurm_mem": f"{plan.memory_mib}M", "timeout_min": minutes, "name": "pyro",
        "slurm_array_parallelism": batches_at_once, **slurm,
    })
    running = dict(enumerate(executor.map_array(batch, [plan] * len(batches), batches)))
    given: set[str] = set()
    store = storage(plan.output)
    try:
        while running:
            queued = _queued({job.job_id.split("_")[0] for job in running.values()})
            ended = [n for n, job in running.items() if job.done() or job.job_id not in queued]
            yield from _new(store, batches, running, given)
            for n in ended:
                job = running.pop(n)
                for w, result in _outcome(job, batches[n]):
                    if w.key not in given:
                        given.add(w.key)
                        yield w, result
            if running and not ended:
                time.sleep(POLL_SECONDS)
    finally:
        for job in running.values():
            job.cancel()


def _queued(arrays: Iterable[str]) -> set[str]:
    """Give the batch jobs that wait or run. submitit would ask the accounting, which many clusters do not have."""
    asked = subprocess.run(
        ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(sorted(arrays))}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if asked.returncode and "Invalid job id" not in asked.stderr:
        raise PyroError(f"cannot ask Slurm for its queue: {asked.stderr.strip()}")
    return set(asked.stdout.split())


def _new(
    store: Any, batches: Sequence[list[Work]], running: Mapping[int, Any], given: set[str]
) -> Iterator[tuple[Work, Result]]:
    """Give what batches that still run have done already."""
    waiting = {w.key: w for n in running for w in batches[n] if w.key not in given}
    done, _ = earlier(store, list(waiting.values()))
    for result in done:
        result.resumed = False
        given.add(result.key)
        yield waiting[result.key], result


def _outcome(job: Any, work: Sequence[Work]) -> list[tuple[Work, Result]]:
    by_key = {w.key: w for w in work}
    try:
        if not job.paths.result_pickle.exists():
            raise RuntimeError("it is no longer in the queue, and left no result")
        return [(by_key[r.key], r) for r in job.result()]
    except Exception as e:  # of submitit's: the batch was ended, or its node is gone
        lines = str(e).strip().splitlines() or [type(e).__name__]
        message = f"its batch job is lost: {lines[0]}"
        return [(w, Result(w.key, w.index, w.job, failure="guest_lost", message=message)) for w in work]
