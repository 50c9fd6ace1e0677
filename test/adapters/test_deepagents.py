"""LangChain's own suite for sandboxes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
