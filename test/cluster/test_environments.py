"""Environments reach the nodes by digest: from a registry that env push filled, and from a shared place."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port, wait_until
from ray_nodes import World

import pyro_mcp.ray as cluster
from pyro_mcp import Pyro

OPTIONS: dict[str, Any] = {"mem_mib": 512, "timeout_seconds": 60, "progress": False, "retries": 0}
SAY = "read -r line </says; echo $line"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Debian's docker-registry on loopback."""
    address = f"127.0.0.1:{free_port()}"
    configuration = tmp_path / "registry.yml"
    configuration.write_text(
        "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: '%s'}\n"
        % (tmp_path / "registry", address))
    process = subprocess.Popen(["docker-registry", "serve", str(configuration)])
    try:
        wait_until(lambda: bool(urllib.request.urlopen(f"http://{address}/v2/")))
        yield address
    finally:
        process.terminate()
        process.wait()


def image(directory: Path, says: str) -> str:
    """Make an image in the OCI layout with a shell and a file, and give its name."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, data in (("bin/sh", Path("/bin/busybox").read_bytes()), ("says", says.encode())):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    kind = "application/vnd.oci.image."
    content = blob(layer.getvalue())
    config = blob(json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [content["digest"]]}}).encode())
    manifest = blob(json.dumps({
        "schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
        "config": {"mediaType": kind + "config.v1+json", **config},
        "layers": [{"mediaType": kind + "layer.v1.tar", **content}]}).encode())
    (directory / "index.json").write_text(json.dumps({
        "schemaVersion": 2, "manifests": [{"mediaType": kind + "manifest.v1+json", **manifest}]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{directory}"


def cache(directory: Path) -> Path:
    """Make a cache that has the kernel and debian:12, so that images need nothing of Debian's archive."""
    shared = Path(os.environ["PYRO_CACHE_DIR"])
    with Pyro() as pyro:
        debian = pyro.inspect_environment("debian:12")
    for name in ("kernels", "initrds", "kvm.json", "qemu.json", "environments/debian:12.json",
                 f"images/{debian['image_sha256']}"):
        if (shared / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(shared / name, directory / name)
    return directory


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[World]:
    """Two nodes that have a cache of their own each."""
    w = World(tmp_path, nodes=0)
    for n in range(2):
        w.add_node(f"node{n}", cache=cache(tmp_path / f"cache{n}"))
    w.cluster.wait_for_nodes()
    yield w
    w.close()


def pulled(tmp_path: Path) -> list[set[str]]:
    """What images each node has installed."""
    found = []
    for n in range(2):
        with Pyro(cache_dir=tmp_path / f"cache{n}") as pyro:
            listed = pyro.list_environments()["environments"]
            found.append({e["name"] for e in listed if e["installed"] and e["name"] != "debian:12"})
    return found


def test_from_a_registry(apart: World, tmp_path: Path, registry: str) -> None:
    def push(says: str) -> str:
        source = image(tmp_path / says, says)
        with Pyro(cache_dir=cache(tmp_path / f"cache-{says}")) as pyro:
            pyro.pull_environment(source)
            return pyro.push_environment(source, to=f"docker://{registry}/team/small:1")["reference"]

    def run(output: str, jobs: int) -> list[cluster.Result]:
        return list(cluster.map(
            list(range(jobs)), environment=f"{registry}/team/small:1", command=SAY,
            output=tmp_path / output, **OPTIONS))

    first = push("one")
    results = run("run", 4)
    assert {r.stdout for r in results} == {"one\n"}, results
    assert {r.environment.rpartition("@")[2] for r in results} == {first.rpartition("@")[2]}
    assert len({r.host for r in results}) == 2
    on_nodes = pulled(tmp_path)
    assert all(any(name.endswith(first.rpartition("@")[2]) for name in names) for names in on_nodes), on_nodes

    second = push("two")
    assert second != first
    assert {r.stdout for r in run("run", 6)} == {"one\n"}, "a run stays with the image that it began with"
    cluster_of_digest = list(cluster.map(
        [1, 2, 3, 4], environment=f"{registry}/team/small@{second.rpartition('@')[2]}",
        command=SAY, output=tmp_path / "digest", **OPTIONS))
    assert {r.stdout for r in cluster_of_digest} == {"two\n"}, cluster_of_digest


def test_from_a_shared_directory(apart: World, tmp_path: Path) -> None:
    name = image(tmp_path / "shared", "shared")
    what = {"environment": name, "command": SAY, "output": tmp_path / "run", **OPTIONS}
    results = list(cluster.map(list(range(4)), **what))
    assert {r.stdout for r in results} == {"shared\n"}, results
    # Whoever may write to the directory cannot put something else under the digest.
    for blob in (tmp_path / "shared" / "blobs" / "sha256").iterdir():
        blob.write_bytes(blob.read_bytes().replace(b"shared", b"forged"))
    for n in range(2):
        with Pyro(cache_dir=tmp_path / f"cache{n}") as pyro:
            pyro.remove_environment(name)
    results = list(cluster.map(["more"], **what))
    assert [r.failure for r in results] == ["environment"], results
