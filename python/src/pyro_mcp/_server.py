"""The MCP server, which is pyro's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Literal, NoReturn, get_args

from ._binary import find_binary
from .errors import InvalidArgumentError

Profile = Literal["vm-run", "core", "task", "full"]


class Server:
    """An MCP server, made by create_server()."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = dict(environment)

    @property
    def command(self) -> list[str]:
        """The command that serves, for a client's configuration."""
        return list(self._command)

    def run(self, transport: str = "stdio") -> NoReturn:
        """Serve until the client ends. This process becomes the server: what follows this call never happens."""
        if transport != "stdio":
            raise InvalidArgumentError(f"transport {transport!r} is not served here", hint="use 'stdio', or 'pyro mcp serve --http'")
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(self._command[0], self._command, {**os.environ, **self._environment})


def create_server(
    *,
    profile: Profile = "full",
    binary: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Server:
    """Make an MCP server that offers the tools of a profile. Start it with run()."""
    if profile not in get_args(Profile):
        raise InvalidArgumentError(f"profile {profile!r} is none of {', '.join(get_args(Profile))}")
    return Server([find_binary(binary), "mcp", "serve", "--profile", profile], environment or {})
