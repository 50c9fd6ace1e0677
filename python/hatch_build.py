"""Puts the pyro executable into the wheel, which makes it a wheel for one platform."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The executable is static, so it runs beside any C library.
PLATFORMS = {
    "amd64": "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    "arm64": "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
}


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Adds $PYRO_BINARY, by default ../bin/pyro, as the wheel's script pyro, and the licences in $PYRO_LICENSES.

    The script has another name if the hook's configuration has one as "program".
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        binary = Path(os.environ.get("PYRO_BINARY") or Path(self.root).parent / "bin" / "pyro")
        if not binary.is_file():
            raise FileNotFoundError(f"{binary} is missing: run 'make build' first")
        platform = PLATFORMS[os.environ.get("PYRO_GOARCH", "amd64")]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["shared_scripts"] = {str(binary.resolve()): self.config.get("program", "pyro")}
        if licenses := os.environ.get("PYRO_LICENSES"):
            build_data["extra_metadata"] = {licenses: "third-party-licenses"}
