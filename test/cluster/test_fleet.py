"""Tasks on a real Ray cluster of two nodes: their files, their forks, and what becomes of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import OPTIONS, World, wait_for

import pyro_mcp.ray as cluster
from pyro_mcp import GuestLostError, LimitReachedError, NotFoundError


def test_tasks(world: World, tmp_path: Path) -> None:
    with cluster.Fleet("debian:12", mem_mib=512, ttl_seconds=20) as fleet:
        one, other = fleet.tasks(2)
        assert {one.node, other.node} == {node.node_id for node in world.nodes}, "one on each node"
        one.exec("echo kept >f")
        one.write_file("bytes", b"\0\1\n")
        assert one.read_file("bytes") == b"\0\1\n"
        (tmp_path / "tree" / "below").mkdir(parents=True)
        (tmp_path / "tree" / "below" / "file").write_text("deep")
        os.symlink("below/file", tmp_path / "tree" / "link")
        one.upload(tmp_path / "tree", "tree")
        assert one.exec(["cat", "tree/link"])["stdout"] == "deep"
        one.download("tree", tmp_path / "back")
        assert (tmp_path / "back" / "below" / "file").read_text() == "deep"
        assert os.readlink(tmp_path / "back" / "link") == "below/file"
        assert {f["path"] for f in one.list_files()} >= {"/workspace/bytes", "/workspace/f"}
        with pytest.raises(NotFoundError):
            one.read_file("nothing")
        with pytest.raises(LimitReachedError, match="room for 0 of 1"):
            fleet.task(timeout_seconds=2)
        started = one.start("cat f")
        assert started.wait()["stdout"] == "kept\n"
        gone = next(n for n in world.nodes if n.node_id == other.node)
        world.cluster.remove_node(gone, allow_graceful=False)
        with pytest.raises(GuestLostError):
            other.exec("true")
        name = f"node{world.nodes.index(gone)}"
        wait_for("a lost node's task ends by its TTL", lambda: not world.left(name), 120)
    assert world.left("node0") == world.left("node1") == []


def test_forks(world: World) -> None:
    world.add_node("large", num_cpus=3)
    with cluster.Fleet("debian:12", mem_mib=512) as fleet:
        tasks = fleet.tasks(5)  # all that there is room for
        large = next(task for task in tasks if task.node not in {n.node_id for n in world.nodes})
        for task in tasks:
            if task is not large:
                task.delete()
        large.exec("echo 1 >f; sleep 1000 & echo $! >pid")
        forks = large.fork(2)
        assert {fork.node for fork in forks} == {large.node}
        for n, fork in enumerate(forks):
            out = fork.exec(f'cat f; echo {n} >>f; kill -0 "$(cat pid)" && echo runs')
            assert out["stdout"] == "1\nruns\n"
        assert large.read_file("f") == b"1\n"
    assert world.left("large") == [] == world.left("large", "snapshots")


def test_attempts(world: World, tmp_path: Path) -> None:
    """A node prepares once; each attempt begins there, and leaves its files."""
    said: list[str] = []
    attempts = [{"n": n} for n in range(10)]
    results = list(cluster.fork_map(
        attempts, prepare="cat /proc/sys/kernel/random/uuid >prepared", ordered=True,
        command="cat prepared; read -r job; echo $job >out; test -e mine && exit 9; touch mine",
        files=["out", "none"],
        output=tmp_path / "run", on_summary=said.append, **OPTIONS))
    assert [r.failure for r in results] == [""] * 10, results
    prepared, hosts = {r.stdout for r in results}, {r.host for r in results}
    assert len(prepared) == len(hosts) == 2, "prepared once on each node"
    for r in results:
        assert r.missing == ["none"]
        r.unpack(tmp_path / "files" / r.key)
        assert (tmp_path / "files" / r.key / "out").read_text() == f'{{"n": {r.index}}}\n'
    assert sorted(os.listdir(tmp_path / "run" / "files")) == sorted(f"{r.key}.tar" for r in results)
    for node in ("node0", "node1"):
        assert world.left(node) == world.left(node, "snapshots") == world.left(node, "prepared") == []


def test_preparing_fails(world: World, tmp_path: Path) -> None:
    def prepare(pyro: Any, task: str) -> None:
        raise ValueError("no such repository")

    said: list[str] = []
    results = list(cluster.fork_map(
        [1, 2], prepare=prepare, command="true", output=tmp_path / "run", retries=1,
        on_summary=said.append, **OPTIONS))
    assert {r.failure for r in results} == {"not_prepared"}
    assert "no such repository" in said[0] and "failures of machines: 2" in said[0]
    assert not (tmp_path / "run" / "results").exists(), "the next run does them"
    output = tmp_path / "run"
    again = cluster.fork_map([1, 2], prepare="true", command="true", output=output, **OPTIONS)
    assert [r.failure for r in again] == ["", ""]
