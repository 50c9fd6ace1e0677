"""The client: each method is a request over the bridge."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

from ._binary import find_binary
from ._bridge import Bridge, Feed, Handlers
from ._operations import Operations
from ._server import Profile, Server, create_server


class Pyro(Operations):
    """Runs commands in microVMs. Safe from several threads; close it, or use it in a with statement.

    All arguments are optional: binary names the pyro executable, cache_dir and state_dir move what pyro keeps,
    accelerator is auto, kvm or tcg, max_active_vms bounds the VMs and tasks that live at once, mirror is the Debian
    mirror that environments are built from.
    """

    def __init__(
        self,
        *,
        binary: str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        state_dir: str | os.PathLike[str] | None = None,
        accelerator: str | None = None,
        max_active_vms: int | None = None,
        mirror: str | None = None,
    ) -> None:
        self._binary = binary
        self._environment = {
            name: os.fspath(value) if not isinstance(value, int) else str(value)
            for name, value in (
                ("PYRO_CACHE_DIR", cache_dir), ("PYRO_STATE_DIR", state_dir), ("PYRO_ACCELERATOR", accelerator),
                ("PYRO_MAX_ACTIVE_VMS", max_active_vms), ("PYRO_DEBIAN_MIRROR", mirror),
            )
            if value is not None
        }
        self._bridge = Bridge(lambda: find_binary(binary), self._environment)

    def close(self) -> None:
        """End the calls under way. VMs and tasks live on."""
        self._bridge.close()

    def __enter__(self) -> Pyro:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def create_server(self, *, profile: Profile = "full") -> Server:
        """Make an MCP server with the options of this Pyro. Start it with run()."""
        return create_server(profile=profile, binary=self._binary, environment=self._environment)

    def _send(self, method: str, params: dict[str, Any], handlers: Handlers | None, feed: Feed | None) -> Any:
        return self._bridge.call(method, params, handlers, feed)
