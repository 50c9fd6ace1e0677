"""Where the pyro executable is."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from .errors import BinaryNotFoundError


def find_binary(explicit: str | os.PathLike[str] | None = None) -> str:
    """Find pyro: as given, else $PYRO_BINARY, else the one that this package brought, else on PATH."""
    for source, named in (("binary", explicit), ("PYRO_BINARY", os.environ.get("PYRO_BINARY"))):
        if not named:
            continue
        path = os.fspath(named)
        if not _executable(path):
            raise BinaryNotFoundError(f"{source} names {path!r}, which is no executable file")
        return os.path.abspath(path)
    for directory in _script_directories():
        if _executable(candidate := os.path.join(directory, "pyro")):
            return candidate
    if found := shutil.which("pyro"):
        return os.path.abspath(found)
    raise BinaryNotFoundError(
        "cannot find the pyro executable", hint="install the wheel of this package, put pyro on PATH, or set PYRO_BINARY"
    )


def _script_directories() -> list[str]:
    """Where an installer puts the scripts of this package's wheel."""
    directories = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
    if user := sysconfig.get_path("scripts", f"{os.name}_user"):
        directories.append(user)
    # With pip install --target the scripts stand in bin, beside the package.
    directories.append(str(Path(__file__).resolve().parent.parent / "bin"))
    return directories


def _executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
