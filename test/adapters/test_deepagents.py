"""LangChain's own suite for sandboxes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from deepagents.backends.protocol import SandboxBackendProtocol
from langchain_tests.integration_tests import SandboxIntegrationTests

from pyro_mcp import Pyro
from pyro_mcp.deepagents import PyroSandbox


class TestPyroSandbox(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[PyroSandbox]:
        with Pyro() as p, PyroSandbox(pyro=p, user="nobody") as sandbox:
            # The suite calls Python by a name that Debian does not give it.
            p.exec_task(sandbox.id, command="ln -s python3 /usr/bin/python", user="root")
            yield sandbox

    @pytest.mark.xfail(reason="deepagents 0.7 gives absolute paths, which the suite does not expect", strict=True)
    def test_glob(self, sandbox_backend: SandboxBackendProtocol, sandbox_test_root: str) -> None:
        super().test_glob(sandbox_backend, sandbox_test_root)

    @pytest.mark.xfail(reason="deepagents 0.7 writes over a file, which the suite does not expect", strict=True)
    def test_write_existing_file_fails(self, sandbox_backend: SandboxBackendProtocol, sandbox_test_root: str) -> None:
        super().test_write_existing_file_fails(sandbox_backend, sandbox_test_root)
