"""Inspect's own suite for sandboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from inspect_ai.util import SandboxEnvironment
from inspect_ai.util._sandbox.registry import registry_find_sandboxenv
from inspect_ai.util._sandbox.self_check import *  # noqa: F403 - that is how the suite is taken in

from pyro_mcp.inspect_ai import Config

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sample() -> AsyncIterator[SandboxEnvironment]:
    """A task whose commands run as somebody who may not do everything."""
    kind = registry_find_sandboxenv("pyro")
    config = Config(user="nobody")
    await kind.task_init("check", config)
    environments = await kind.sample_init("check", config, {})
    # The suite gives adduser ten seconds, which an emulated processor needs for it the first time.
    await environments["default"].exec(["adduser", "--version"])
    yield environments["default"]
    await kind.sample_cleanup("check", config, environments, False)
    await kind.task_cleanup("check", config, True)


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox_env(sample: SandboxEnvironment) -> SandboxEnvironment:
    return sample
