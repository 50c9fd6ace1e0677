"""A client of MCP over HTTP whose connection breaks in the middle of a call: it comes back for the result."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from test_mcp_client import BINARY, ENVIRONMENT, TOKEN

PATH = "/mcp"
HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    server = subprocess.Popen(
        [BINARY, "mcp", "serve", "--http", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYRO_STATE_DIR": str(tmp_path), "PYRO_MCP_TOKEN": TOKEN})
    assert server.stderr is not None
    url = urlsplit(server.stderr.readline().strip().removeprefix("serving MCP at "))
    assert url.path == PATH
    yield url.netloc
    server.terminate()
    assert server.wait(60) in (0, 143)


def ask(
    address: str, method: str, headers: dict[str, str], message: dict[str, Any] | None = None
) -> tuple[socket.socket, http.client.HTTPResponse]:
    """Make a request on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=120)
    body = None if message is None else json.dumps({"jsonrpc": "2.0", **message})
    connection.request(method, PATH, body, {**HEADERS, **headers})
    assert connection.sock
    return connection.sock, connection.getresponse()


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_result_is_fetched_by_a_second_connection(address: str, version: str) -> None:
    client = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    _, answer = ask(address, "POST", {}, {"id": 1, "method": "initialize", "params": client})
    session = {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"], "Mcp-Protocol-Version": version}
    answer.read()
    ask(address, "POST", session, {"method": "notifications/initialized"})[1].read()

    run = {"environment": ENVIRONMENT, "command": "sleep 3; echo survived"}
    call = {"name": "vm_run", "arguments": run, "_meta": {"progressToken": "t"}}
    connection, answer = ask(address, "POST", session, {"id": 2, "method": "tools/call", "params": call})
    while not (line := answer.readline()).startswith(b"id:"):
        assert line, "the stream has ended"
    connection.shutdown(socket.SHUT_RDWR)
    answer.close()

    again = {**session, "Last-Event-ID": line.decode().removeprefix("id:").strip()}
    # Until the server has seen that the first connection is gone, it says that the stream is in use.
    while (answer := ask(address, "GET", again)[1]).status == 409:
        answer.close()
    assert answer.status == 200
    while b'"id":2' not in (line := answer.readline()):
        assert line, "the stream has ended without the result"
    result = json.loads(line.removeprefix(b"data:"))["result"]
    assert result["structuredContent"]["stdout"] == "survived\n"
