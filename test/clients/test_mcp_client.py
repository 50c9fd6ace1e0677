"""The official Python client against pyro mcp serve, on real guests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

BINARY = os.environ.get("PYRO_BINARY") or str(Path(__file__).parents[2] / "bin" / "pyro")
ENVIRONMENT = os.environ.get("PYRO_TEST_ENVIRONMENT", "debian:12")
TOKEN = "client-token"
CONTRACT = Path(__file__).parents[2] / "contract" / "contract.json"
TOOLS = {name for names in json.loads(CONTRACT.read_text())["mcp_tools"].values() for name in names}


@contextlib.asynccontextmanager
async def over_stdio(state: Path, mode: str) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(
        command=BINARY, args=["mcp", "serve"], env={**os.environ, "PYRO_STATE_DIR": str(state)}
    )
    async with Client(parameters, mode=mode) as client:
        yield client


@contextlib.asynccontextmanager
async def over_http(state: Path, mode: str) -> AsyncIterator[Client]:
    server = subprocess.Popen(
        [BINARY, "mcp", "serve", "--http", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYRO_STATE_DIR": str(state), "PYRO_MCP_TOKEN": TOKEN},
    )
    try:
        assert server.stderr is not None
        url = server.stderr.readline().strip().removeprefix("serving MCP at ")
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=300) as web:
            async with Client(streamable_http_client(url, http_client=web), mode=mode) as client:
                yield client
    finally:
        server.terminate()
        assert server.wait(60) in (0, 143)


# The newest protocol has no clients over HTTP; the older one has.
WAYS = {
    "stdio": (over_stdio, "auto"),
    "stdio, older": (over_stdio, "legacy"),
    "http": (over_http, "auto"),
    "http, older": (over_http, "legacy"),
}


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return dict(result.structured_content)


def live(state: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [BINARY, "task", "list", "--json"],
        env={**os.environ, "PYRO_STATE_DIR": str(state)},
        capture_output=True,
        check=True,
    )
    everything = json.loads(done.stdout)
    return [*(everything["vms"] or []), *(everything["tasks"] or [])]


@pytest.mark.parametrize("way", WAYS)
def test_calls(way: str, tmp_path: Path) -> None:
    async def talk() -> None:
        transport, mode = WAYS[way]
        async with transport(tmp_path, mode) as client:
            assert {t.name for t in (await client.list_tools()).tools} >= TOOLS
            environments = await call(client, "vm_list_environments")
            assert any(e["name"] == ENVIRONMENT for e in environments["environments"])

            # Side by side.
            results = await asyncio.gather(
                *(
                    call(
                        client,
                        "vm_run",
                        environment=ENVIRONMENT,
                        command=f"echo {n}; exit {n}",
                        timeout_seconds=120,
                    )
                    for n in range(3)
                )
            )
            assert [(r["exit_code"], r["stdout"]) for r in results] == [(n, f"{n}\n") for n in range(3)]

            # A progress token.
            seen: list[tuple[float, str | None]] = []

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                seen.append((progress, message))

            slow = await client.call_tool(
                "vm_run", {"environment": ENVIRONMENT, "command": "sleep 3"}, progress_callback=on_progress
            )
            assert not slow.is_error and len(seen) >= 3
            assert [p for p, _ in seen] == sorted({p for p, _ in seen})

            # A whole task, with a cancellation that kills its command.
            task = await call(client, "task_create", environment=ENVIRONMENT, network=False)
            identity = task["task_id"]
            await call(client, "task_exec", task_id=identity, command="echo one > file")
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await client.call_tool(
                        "task_exec", {"task_id": identity, "command": "sleep 600", "timeout_seconds": 900}
                    )
            assert time.monotonic() - began < 10
            for _ in range(50):
                processes = await call(
                    client, "task_exec", task_id=identity, command="pgrep -x sleep || true"
                )
                if processes["stdout"] == "":
                    break
                await asyncio.sleep(0.2)
            assert processes["stdout"] == "", "the cancelled command runs on"
            assert (await call(client, "task_exec", task_id=identity, command="cat file"))[
                "stdout"
            ] == "one\n"

            # Big output is cut, and the rest can be had.
            big = await call(client, "task_exec", task_id=identity, command="seq 1 40000")
            assert big["stdout_truncated"] and len(big["stdout"]) < 70_000
            text, offset = "", 0
            while True:
                logs = await call(
                    client, "task_logs", task_id=identity, sequence=big["sequence"], offset_bytes=offset
                )
                entry = logs["entries"][0]
                text += entry["stdout"]
                offset = len(text)
                if not entry.get("stdout_truncated"):
                    break
            assert text.split() == [str(n) for n in range(1, 40001)]

            # Failures are results that a model can act on.
            failure = await client.call_tool("task_exec", {"task_id": "no-such-task", "command": "true"})
            assert failure.is_error and "[not_found]" in failure.content[0].text  # type: ignore[union-attr]
            failure = await client.call_tool("vm_run", {"environment": "debain:12", "command": "true"})
            assert failure.is_error

            # A VM that this session made goes with it, a task does not.
            vm = await call(client, "vm_create", environment=ENVIRONMENT)
            assert {v.get("vm_id") for v in live(tmp_path)} == {vm["vm_id"], None}

    asyncio.run(talk())
    left = live(tmp_path)
    assert [t.get("task_id") is not None for t in left] == [True]
    subprocess.run(
        [BINARY, "task", "delete", left[0]["task_id"]],
        env={**os.environ, "PYRO_STATE_DIR": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    assert live(tmp_path) == []


def test_client_that_goes_away(tmp_path: Path) -> None:
    """A client killed in the middle of a call leaves no VM behind."""
    server = subprocess.Popen(
        [BINARY, "mcp", "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYRO_STATE_DIR": str(tmp_path)},
    )
    assert server.stdin and server.stdout

    def send(**message: Any) -> None:
        assert server.stdin
        server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        server.stdin.flush()

    send(
        id=1,
        method="initialize",
        params={
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    )
    assert "serverInfo" in server.stdout.readline()
    send(method="notifications/initialized")
    send(id=2, method="tools/call", params={"name": "vm_create", "arguments": {"environment": ENVIRONMENT}})
    assert '"vm_id"' in server.stdout.readline()
    send(
        id=3,
        method="tools/call",
        params={
            "name": "vm_run",
            "arguments": {"environment": ENVIRONMENT, "command": "sleep 600", "timeout_seconds": 900},
        },
    )
    deadline = time.monotonic() + 60
    while len(live(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    server.stdout.close()
    server.stdin.close()
    assert server.wait(30) == 0
    assert live(tmp_path) == []
