"""Jobs and tasks on a Ray cluster, each in a microVM of its own.

    import pyro_mcp.ray as cluster

    for result in cluster.map(jobs, environment="debian:12", command="python3 check.py", output="runs/1"):
        print(result.key, result.failure or "ok")

Ray places them: each asks for its guest's processors and memory, so that nodes are filled and never overfilled; it
tries jobs again whose node is lost. Install with the extra: pip install 'pyro-mcp[ray]'.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ._jobs import (
    RETRIED,
    Command,
    Function,
    Plan,
    Prepare,
    Result,
    Work,
    earlier,
    in_order,
    plan_of,
    work_of,
)
from ._perform import engine, perform
from ._prepared import discard
from ._ray_fleet import Fleet, FleetTask
from ._storage import storage
from ._tally import Tally

__all__ = ["Fleet", "FleetTask", "Result", "fork_map", "map"]

_ray: Any = ray  # for those of its functions that have no types
DISCARD_SECONDS = 60.0  # for the nodes to remove what was prepared on them


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
    in_flight: int | None = None,
    progress: bool = True,
    on_summary: Callable[[str], object] | None = None,
    **options: Any,
) -> Iterator[Result]:
    """Do each job in a guest, and give results as they come.

    A job is anything that is plain JSON (else key= names it). command is a shell command, or makes one of the job; the
    job also stands on its standard input, as JSON. function(pyro, task_id, job) is called with a started task instead,
    and its value is the result's. options are those of run_in_vm or create_task.

    output is a directory that all nodes see, or an fsspec URL: a second run of the same list with the same output does
    what is missing. files are paths in the guest that are kept there for each job, as one tar: result.unpack(directory)
    gives them. A failure of pyro's own (a lost guest, a full host) is tried again up to retries times, as is a job
    whose node is lost. in_flight bounds the jobs that are handed to Ray at once, 4 for each processor of the cluster by
    default.
    """
    plan = plan_of(environment, command, function, output, files, timeout_seconds, options)
    return _map(plan, work_of(jobs, key), ordered, retries, in_flight, progress, on_summary)


def fork_map(
    attempts: Iterable[Any],
    *,
    environment: str,
    prepare: Prepare,
    output: str | os.PathLike[str],
    command: Command | None = None,
    function: Function | None = None,
    timeout_seconds: int = 30,
    ordered: bool = False,
    key: Callable[[Any], str] | None = None,
    files: Sequence[str] = (),
    retries: int = 3,
    in_flight: int | None = None,
    progress: bool = True,
    on_summary: Callable[[str], object] | None = None,
    **options: Any,
) -> Iterator[Result]:
    """Prepare a task once on each node, and make each attempt in a fork of it; else this is map.

    prepare is a shell command, or is called as prepare(pyro, task_id). The forks go on from the memory and the disk
    that it left. The first attempt on a node prepares there, and the others wait for it; a node that joins later does
    the same. What was prepared is removed from the nodes when the results have been given. options are those of
    create_task.
    """
    plan = plan_of(environment, command, function, output, files, timeout_seconds, options, prepare)
    return _map(plan, work_of(attempts, key), ordered, retries, in_flight, progress, on_summary)


def _map(
    plan: Plan, work: Sequence[Work], ordered: bool, retries: int, in_flight: int | None, progress: bool,
    on_summary: Callable[[str], object] | None,
) -> Iterator[Result]:
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    done, left = earlier(storage(plan.output), work)
    tally = Tally(len(work), progress)

    def results() -> Iterator[Result]:
        yield from done
        at_once = in_flight or 4 * max(1, int(_ray.cluster_resources().get("CPU", 1)))
        yield from _spread(plan, left, retries, at_once, tally)

    def counted() -> Iterator[Result]:
        for result in results():
            tally.add(result)
            yield result
        if on_summary is not None:
            on_summary(tally.summary())

    return in_order(counted()) if ordered else counted()


def _perform(plan: Plan, w: Work) -> Result:
    return perform(plan, w, host=f"{os.uname().nodename}/{ray.get_runtime_context().get_node_id()[:8]}")


def _clean(plan: Plan) -> None:
    discard(engine(), plan)


_job: Any = ray.remote(_perform)
_discard: Any = ray.remote(num_cpus=0, max_retries=0)(_clean)


def _spread(plan: Plan, work: Sequence[Work], retries: int, in_flight: int, tally: Tally) -> Iterator[Result]:
    """Keep Ray busy, with no more than in_flight jobs in its hands."""
    # A lost worker is seen here, and counted with pyro's own failures: Ray is not to retry beside that.
    submit = _job.options(num_cpus=plan.cpus, memory=plan.memory_mib << 20, max_retries=0).remote
    queue = list(reversed(work))
    tries = {w.key: 0 for w in work}
    pending: dict[Any, Work] = {}
    try:
        while queue or pending:
            while queue and len(pending) < in_flight:
                w = queue.pop()
                tries[w.key] += 1
                pending[submit(plan, w)] = w
            ready, _ = ray.wait(list(pending), num_returns=1)
            for ref in ready:
                w = pending.pop(ref)
                result = _result(ref, w)
                if result.failure in RETRIED and tries[w.key] <= retries:
                    tally.again()
                    queue.append(w)
                else:
                    yield result
    finally:
        for ref in pending:
            ray.cancel(ref, force=True)
        if plan.prepare is not None and work:
            _discard_everywhere(plan)


def _discard_everywhere(plan: Plan) -> None:
    nodes = [node["NodeID"] for node in _ray.nodes() if node["Alive"]]
    refs = [
        _discard.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(plan)
        for node in nodes
    ]
    ready, _ = ray.wait(refs, num_returns=len(refs), timeout=DISCARD_SECONDS)
    for ref in ready:
        try:
            ray.get(ref)
        except ray.exceptions.RayError:
            pass  # the node is gone, or the next run there removes it


def _result(ref: Any, w: Work) -> Result:
    try:
        result = ray.get(ref)
        assert isinstance(result, Result)
        return result
    except ray.exceptions.RayTaskError as e:  # a fault of the job's function, or of pyro: not of the node
        return Result(w.key, w.index, w.job, failure="exception", message=str(e.cause or e).splitlines()[-1])
    except ray.exceptions.RayError as e:
        return Result(w.key, w.index, w.job, failure="guest_lost", message=f"its worker is lost: {str(e).splitlines()[0]}")
