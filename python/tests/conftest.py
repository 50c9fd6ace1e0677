"""What the tests share: the pyro that was built from this tree, and directories of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp import Pyro


@pytest.fixture(scope="session")
def binary() -> str:
    path = Path(os.environ.get("PYRO_BINARY") or Path(__file__).parents[2] / "bin" / "pyro")
    assert path.is_file(), f"{path} is missing: run 'make build' first"
    return str(path)


@pytest.fixture
def pyro(binary: str, tmp_path: Path) -> Iterator[Pyro]:
    with Pyro(binary=binary, state_dir=tmp_path / "state", cache_dir=tmp_path / "cache") as p:
        yield p
