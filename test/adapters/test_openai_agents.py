"""What the OpenAI Agents SDK asks of its sandbox clients, and an agent of it that works in a sandbox."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from agents.sandbox.entries import File
from agents.sandbox.errors import ExecTimeoutError, InvalidManifestPathError, WorkspaceReadNotFoundError
from agents.sandbox.manifest import Environment, Manifest

from pyro_mcp.openai_agents import PyroSandboxClient, PyroSandboxClientOptions

pytestmark = pytest.mark.asyncio


async def test_a_session() -> None:
    async with PyroSandboxClient() as client:
        manifest = Manifest(
            entries={"notes/a.txt": File(content=b"from the manifest")}, environment=Environment(value={"GREETING": "hi"}))
        session = await client.create(manifest=manifest, options=PyroSandboxClientOptions(exposed_ports=(8000,)))
        async with session:
            assert await session.running()
            result = await session.exec("cat notes/a.txt; pwd; echo $GREETING; echo err >&2; exit 3")
            assert (result.stdout, result.stderr, result.exit_code) == (b"from the manifest/workspace\nhi\n", b"err\n", 3)
            with pytest.raises(ExecTimeoutError):
                await session.exec("sleep 60", timeout=1)
            content = bytes(range(256)) * 1000
            await session.write(Path("deep/er/data"), io.BytesIO(content))
            assert (await session.read(Path("deep/er/data"))).read() == content
            assert {e.path.rsplit("/", 1)[-1] for e in await session.ls(".")} >= {"notes", "deep"}
            with pytest.raises(WorkspaceReadNotFoundError):
                await session.read(Path("missing"))
            with pytest.raises(InvalidManifestPathError):
                await session.read(Path("/etc/shadow"))
            archive = (await session.persist_workspace()).read()
            await session.rm("deep", recursive=True)
            await session.hydrate_workspace(io.BytesIO(archive))
            assert (await session.read(Path("deep/er/data"))).read() == content
            endpoint = await session.resolve_exposed_port(8000)
            assert (endpoint.host, endpoint.tls) == ("127.0.0.1", False)
            kept = client.serialize_session_state(session.state)
            again = await client.resume(client.deserialize_session_state(kept))
            assert (await again.exec("cat notes/a.txt")).stdout == b"from the manifest"
        await client.delete(session)
        assert not await session.running()
