"""Run commands in throw-away microVMs, and keep task workspaces alive in them.

>>> from pyro_mcp import Pyro
>>> with Pyro() as p:
...     p.run_in_vm(environment="debian:12", command="git --version")["stdout"]
'git version 2.39.5\\n'
"""

from . import _origin  # first: what it refuses must not fail in some other way before
from ._async_client import AsyncPyro, AsyncTask
from ._client import Pyro, TaskHandle
from ._server import Server, create_server
from ._stream import AsyncRun, Run
from ._version import __version__
from .errors import (
    BadSeedError,
    BinaryNotFoundError,
    BinaryTooOldError,
    BridgeError,
    CancelledError,
    EnvironmentUnavailableError,
    GuestLostError,
    GuestUnavailableError,
    InvalidArgumentError,
    InvalidStateError,
    LimitReachedError,
    NoSpaceError,
    NotFoundError,
    PyroError,
    PyroTimeoutError,
)

__all__ = [
    "AsyncPyro",
    "AsyncRun",
    "AsyncTask",
    "BadSeedError",
    "BinaryNotFoundError",
    "BinaryTooOldError",
    "BridgeError",
    "CancelledError",
    "EnvironmentUnavailableError",
    "GuestLostError",
    "GuestUnavailableError",
    "InvalidArgumentError",
    "InvalidStateError",
    "LimitReachedError",
    "NoSpaceError",
    "NotFoundError",
    "Pyro",
    "PyroError",
    "PyroTimeoutError",
    "Run",
    "Server",
    "TaskHandle",
    "__version__",
    "create_server",
]

_origin.check()
