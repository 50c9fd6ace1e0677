"""Progress in a real Jupyter kernel. What pyro says is a script's, so that it is the same each time."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from test_bridge import script

import pyro_mcp
from pyro_mcp import Pyro

PULLING = """
    import json, sys
    for line in sys.stdin:
        m = json.loads(line)
        for done in (0, 5, 10) if m["method"] == "pull_environment" else ():
            print(json.dumps({"jsonrpc": "2.0", "method": "progress", "params": {
                "id": m["id"], "phase": "download", "detail": "packages", "bytes_done": done << 20,
                "bytes_total": 10 << 20, "packages_done": done, "packages_total": 10}}), flush=True)
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": {}}), flush=True)
"""
LAST = "download  100%  10.0 of 10.0 MiB  10 of 10  packages"


@pytest.fixture
def pulling(tmp_path: Path) -> str:
    return script(tmp_path / "pyro", PULLING)


def test_one_line_is_updated_in_a_notebook(pulling: str) -> None:
    source = Path(pyro_mcp.__file__).parents[1]
    begin = f"import sys; sys.path.insert(0, {str(source)!r}); from pyro_mcp import AsyncPyro, Pyro"
    cells = [
        begin,
        f"with Pyro(binary={pulling!r}) as p: p.pull_environment('debian:12')",
        f"async with AsyncPyro(binary={pulling!r}) as p: await p.pull_environment('debian:12')",
        f"with Pyro(binary={pulling!r}) as p: p.pull_environment('debian:12', on_progress=lambda _: None)",
        f"with Pyro(binary={pulling!r}) as p: p.list_vms()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [[output["data"]["text/plain"] for output in cell["outputs"]] for cell in notebook["cells"]]
    assert shown == [[], [LAST], [LAST], [], []]


def test_nothing_is_shown_elsewhere(pulling: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Pyro(binary=pulling) as p:
        p.pull_environment("debian:12")
    assert capfd.readouterr() == ("", "")
