"""How a run's environment reaches the machines: pulled once on each, and the same on all, by its digest."""

from __future__ import annotations

import functools
import json

from ._client import Pyro
from ._jobs import Plan
from ._storage import storage
from .errors import NotFoundError, PyroError
from .types import EnvironmentManifest

RECORD = "environment.json"  # which image the run began with


class OtherEnvironmentError(PyroError):
    """A machine has another image by that name than the one that the run began with."""

    kind = "other_environment"


def reach(pyro: Pyro, plan: Plan) -> tuple[str, str]:
    """Have the run's environment on this machine; give the name that it has here, and what it is made of.

    The machine that comes first says for all which image a tag stands for, so that a tag that moves meanwhile does not
    mix two images in one run. What is pulled is verified against its digest, and a template is made by the first start.
    """
    return _reach(pyro, plan.environment, plan.output, plan.run)


@functools.lru_cache(maxsize=16)
def _reach(pyro: Pyro, environment: str, output: str, run: str) -> tuple[str, str]:
    store = storage(output)
    first = json.loads(store.read(RECORD) or b"{}")
    if first.get("environment") != environment:
        have = _have(pyro, environment)
        name = have["origin"] if have["source"] == "oci" and not _local(environment) else environment
        first = {"environment": environment, "name": name, "source": have["source"], "origin": have["origin"]}
        store.write(RECORD, json.dumps(first, sort_keys=True).encode())
    have = _have(pyro, first["name"])
    if first["source"] == "oci" and _digest(have) != _digest(first):
        have = pyro.pull_environment(first["name"])["environment"]
        if _digest(have) != _digest(first):
            raise OtherEnvironmentError(
                f"{environment!r} is another image now ({_digest(have)}) than the run began with ({_digest(first)})",
                hint="give a new run another output")
    return first["name"], have["origin"]


def _have(pyro: Pyro, name: str) -> EnvironmentManifest:
    try:
        return pyro.inspect_environment(name)
    except NotFoundError:
        return pyro.pull_environment(name)["environment"]


def _local(name: str) -> bool:
    return name.startswith(("oci:", "oci-archive:", "docker-archive:"))


def _digest(of: EnvironmentManifest | dict[str, str]) -> str:
    return of["origin"].rpartition("@")[2]
