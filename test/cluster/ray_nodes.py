"""A Ray cluster of several nodes on this machine, each with a state directory of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

JOBS = int(os.environ.get("PYRO_TEST_CLUSTER_JOBS", "200"))
OPTIONS: dict[str, Any] = {"environment": "debian:12", "mem_mib": 512, "progress": False}


class World:
    """A head that runs no jobs, and nodes that do, with a processor each."""

    def __init__(self, directory: Path, nodes: int = 2) -> None:
        self.directory = directory
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.nodes = [self.add_node(f"node{n}") for n in range(nodes)]
        self.cluster.wait_for_nodes()
        ray.init(address=self.cluster.address, log_to_driver=False)

    def add_node(self, name: str, num_cpus: int = 1, cache: Path | None = None) -> Any:
        environment = {"PYRO_STATE_DIR": str(self.directory / name)}
        if cache is not None:
            environment["PYRO_CACHE_DIR"] = str(cache)
        return self.cluster.add_node(num_cpus=num_cpus, memory=2 << 30, env_vars=environment)

    def left(self, name: str, of: str = "vms") -> list[str]:
        """What VMs, or else, a node still has."""
        try:
            return [entry for entry in os.listdir(self.directory / name / of) if not entry.startswith(".")]
        except FileNotFoundError:
            return []

    def close(self) -> None:
        ray.shutdown()
        self.cluster.shutdown()


def wait_for(what: str, true: Any, limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
