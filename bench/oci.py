"""Pulling an image of some 300 MB from a registry on this host: time by phase, memory at its peak, disk used, against
skopeo copy and unpacking with tar in the same run.

Run it from the root after make build, with debian:12 installed and docker-registry and skopeo at hand:
    python3 bench/oci.py [RUNS [MEGABYTES]]
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BINARY = os.environ.get("PYRO_BINARY") or str(ROOT / "bin" / "pyro")
CACHE = Path(os.environ.get("PYRO_CACHE_DIR") or Path.home() / ".cache" / "pyro")
LAYERS = 6
MB = 1 << 20


class Digested:
    """A file that is digested, and compressed if wanted, as it is written."""

    def __init__(self, path: Path) -> None:
        self.file, self.plain, self.stored, self.size = path.open("wb"), hashlib.sha256(), hashlib.sha256(), 0
        self.gzip = zlib.compressobj(1, zlib.DEFLATED, 31)

    def write(self, data: bytes) -> int:
        self.plain.update(data)
        self.put(self.gzip.compress(data))
        return len(data)

    def put(self, data: bytes) -> None:
        self.stored.update(data)
        self.size += self.file.write(data)

    def close(self) -> None:
        self.put(self.gzip.flush())
        self.file.close()


def make_image(where: Path, megabytes: int) -> None:
    """An image in the OCI layout. Its files are of many sizes, and compress to about half."""
    blobs = where / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    chance, layers, ids = random.Random(8), [], []
    text = b"".join(b"%d: the quick brown fox\n" % n for n in range(4000))
    for number in range(LAYERS):
        out = Digested(blobs / "new")
        with tarfile.open(fileobj=out, mode="w|") as tar:  # type: ignore[call-overload]
            count = 0
            while out.size < megabytes * MB // LAYERS:
                size = min(8 * MB, int(1000 * chance.paretovariate(0.6)))
                half = chance.randbytes(size // 2)
                body = half + (text * (size // len(text) + 1))[: size - len(half)]
                info = tarfile.TarInfo(f"srv/{number}/{count % 97}/file{count}")
                info.size, info.mode = size, 0o644
                tar.addfile(info, io.BytesIO(body))
                count += 1
        out.close()
        os.rename(blobs / "new", blobs / out.stored.hexdigest())
        ids.append("sha256:" + out.plain.hexdigest())
        layers.append(
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "size": out.size,
                "digest": "sha256:" + out.stored.hexdigest(),
            }
        )

    def blob(value: Any, kind: str) -> dict[str, Any]:
        data = json.dumps(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": kind, "size": len(data), "digest": "sha256:" + digest}

    config = blob(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids}},
        "application/vnd.oci.image.config.v1+json",
    )
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = blob({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}, kind)
    (where / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (where / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))


def peak(pid: int) -> int:
    """The peak of a living process's memory in bytes; what wait4 tells includes what its parent had at the fork."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def run(*argv: str, **env: str) -> tuple[float, int, bytes]:
    """Seconds, peak memory in bytes, and output of a command."""
    with tempfile.TemporaryFile() as out:
        begun, most = time.monotonic(), 0
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, **env})
        while process.poll() is None:
            most = max(most, peak(process.pid))
            time.sleep(0.02)
        took = time.monotonic() - begun
        out.seek(0)
        output = out.read()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(argv)} failed: {output.decode()}")
    return took, most, output


def on_disk(where: Path) -> int:
    return sum(p.lstat().st_blocks * 512 for p in where.rglob("*") if p.is_file() and not p.is_symlink())


def own_cache(where: Path) -> None:
    """A cache that has nothing but the installed kernel."""
    where.mkdir()
    for name in ("kernels", "initrds"):
        (where / name).symlink_to(CACHE / name)
    for name in ("environments", "images"):
        (where / name).mkdir()
    (where / "environments" / "debian:12.json").symlink_to(CACHE / "environments" / "debian:12.json")
    image = json.loads((where / "environments" / "debian:12.json").read_text())["image"]["path"].split("/")[1]
    (where / "images" / image).symlink_to(CACHE / "images" / image)


def pull(name: str, work: Path) -> dict[str, float]:
    cache, state = work / "cache", work / "state"
    own_cache(cache)
    took, memory, output = run(
        BINARY, "env", "pull", name, "--json", PYRO_CACHE_DIR=str(cache), PYRO_STATE_DIR=str(state)
    )
    result = json.loads(output)
    while list((state / "vms").glob("*-*")):  # a template is made in the background
        time.sleep(0.1)
    row = {
        "seconds": took,
        "memory MiB": memory / MB,
        "disk MiB": (on_disk(cache / "blobs") + on_disk(cache / "images")) / MB,
    }
    row.update({"  " + p["name"]: p["duration_ms"] / 1000 for p in result["phases"]})
    again, _, _ = run(
        BINARY, "env", "pull", name, "--json", PYRO_CACHE_DIR=str(cache), PYRO_STATE_DIR=str(state)
    )
    row["again, unchanged"] = again
    shutil.rmtree(cache)
    return row


def skopeo(name: str, work: Path) -> dict[str, float]:
    layout, root = work / "layout", work / "root"
    took, memory, _ = run(
        "skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://" + name, f"oci:{layout}:x"
    )
    root.mkdir()
    blobs = layout / "blobs" / "sha256"
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    unpacking = 0.0
    for layer in manifest["layers"]:
        seconds, _, _ = run(
            "tar", "-xzf", str(blobs / layer["digest"][7:]), "--no-same-owner", "-C", str(root)
        )
        unpacking += seconds
    begun = time.monotonic()
    os.sync()
    unpacking += time.monotonic() - begun
    row = {
        "seconds": took + unpacking,
        "memory MiB": memory / MB,
        "disk MiB": (on_disk(layout) + on_disk(root)) / MB,
        "  copy": took,
        "  unpack": unpacking,
    }
    shutil.rmtree(layout)
    shutil.rmtree(root)
    return row


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as temporary:
        work = Path(temporary)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % free.getsockname()[1]
        (work / "registry.yml").write_text(
            "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\n"
            "http: {addr: '%s'}\n" % (work / "registry", address)
        )
        registry = subprocess.Popen(
            ["docker-registry", "serve", str(work / "registry.yml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            make_image(work / "image", megabytes)
            name = address + "/bench/image:1"
            while True:
                try:
                    socket.create_connection(tuple(address.split(":"))).close()  # type: ignore[arg-type]
                    break
                except OSError:
                    time.sleep(0.05)
            run(
                "skopeo",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
                f"oci:{work / 'image'}",
                "docker://" + name,
            )
            shutil.rmtree(work / "image")
            rows: dict[str, list[dict[str, float]]] = {"pyro": [], "skopeo and tar": []}
            for _ in range(runs):
                rows["pyro"].append(pull(name, work))
                rows["skopeo and tar"].append(skopeo(name, work))
        finally:
            registry.kill()
            registry.wait()
    for who, all_of in rows.items():
        print(f"{who}, median of {runs}:")
        for key in all_of[0]:
            print(f"  {key:18} {statistics.median(r[key] for r in all_of):8.2f}")


if __name__ == "__main__":
    main()
