"""Making debian:12 from packages at hand: pyro env pull as this user, beside mmdebstrap, which must be root. Both fetch from a mirror
on this host that keeps what it has fetched once, and make the same set of packages.

python3 bench/pull.py, as root, with mmdebstrap and debian:12 installed. BENCH_ROUNDS (default 3 here) is how often; both take
turns. It adds to bench/results.json.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from client import BINARY, ROOT, timed
from start import ENVIRONMENT, host, in_turns, own_state, quiet, spread


def keeping_mirror(upstream: str, kept: Path) -> http.server.ThreadingHTTPServer:
    """A mirror on this host that asks upstream once for each file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            file = kept / hashlib.sha256(self.path.encode()).hexdigest()
            status = 200
            if not file.exists():
                status = self.fetch(file)
            data = file.read_bytes() if status == 200 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def fetch(self, file: Path) -> int:
            try:
                with urllib.request.urlopen(upstream + self.path) as answer:
                    made = file.with_suffix(f".{threading.get_ident()}")
                    made.write_bytes(answer.read())
                    made.rename(file)
            except urllib.error.HTTPError as err:
                return err.code
            return 200

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        sys.exit("bench/pull.py wants to be root, and mmdebstrap")
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    out = ROOT / "bench" / "results.json"
    results: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    with own_state() as scratch, tempfile.TemporaryDirectory(prefix="pyro-mirror-") as kept:
        results["host"] = host()
        manifest = json.loads(
            (Path(os.environ["PYRO_CACHE_DIR"]) / "environments" / f"{ENVIRONMENT}.json").read_text()
        )
        upstream = manifest["mirror"].rstrip("/").removesuffix("/debian")
        server = keeping_mirror(upstream, Path(kept))
        mirror = f"http://127.0.0.1:{server.server_port}/debian"
        packages = ",".join(each["name"] for each in manifest["packages"])
        cache, root = scratch / "pulled", scratch / "root"

        def pull() -> float:
            env = os.environ | {"PYRO_CACHE_DIR": str(cache)}
            words = [BINARY, "-q", "env", "pull", ENVIRONMENT, "--mirror", mirror]
            took = timed(lambda: subprocess.run(words, check=True, env=env))
            quiet()  # a template is made in the background
            shutil.rmtree(cache)
            return took

        def bootstrap() -> float:
            words = [
                "mmdebstrap",
                "--quiet",
                "--variant=custom",
                f"--include={packages}",
                "bookworm",
                str(root),
            ]
            lines = [f"deb {mirror} bookworm main", f"deb {mirror} bookworm-updates main"]
            lines.append(f"deb {mirror}-security bookworm-security main")
            took = timed(lambda: subprocess.run([*words, *lines], check=True))
            shutil.rmtree(root)
            return took

        ways = {"pyro env pull": pull, "mmdebstrap": bootstrap}
        for once in ways.values():
            once()  # from now on the packages are at hand
        times = in_turns(rounds, ways)
        server.shutdown()
    results["pull_s"] = {name: spread([each / 1000 for each in values]) for name, values in times.items()}
    for name, each in results["pull_s"].items():
        print(f"{name}: {each['median']:.1f} s")
    ratio = results["pull_s"]["pyro env pull"]["median"] / results["pull_s"]["mmdebstrap"]["median"]
    print(f"pyro : mmdebstrap = {ratio:.2f}")
    out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
