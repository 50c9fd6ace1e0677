"""Another author's distribution has the name pyro-mcp, too: what an installer that confused them leaves is told."""

from __future__ import annotations

import os
from pathlib import Path

from ._version import __version__

REMEDY = (
    "install the wheel of this project's release again, in an environment without the other: "
    "pip uninstall pyro-mcp, then pip install 'pyro_mcp-{version}-….whl'"
)


def check(package: Path | None = None) -> None:
    """Raise ImportError if what is recorded as installed beside this package is not this package."""
    package = package or Path(__file__).parent
    try:
        recorded = [
            name.removeprefix("pyro_mcp-").removesuffix(".dist-info")
            for name in os.listdir(package.parent)
            if name.startswith("pyro_mcp-") and name.endswith(".dist-info")
        ]
    except OSError:  # a zip file, for example: nothing is recorded there
        return
    # What an older version left is harmless as long as this one is recorded as well.
    if not recorded or __version__ in recorded:
        return
    remedy = REMEDY.format(version=__version__)
    raise ImportError(
        f"pyro_mcp {__version__} stands in {str(package.parent)!r}, where pyro-mcp {', '.join(sorted(recorded))} is recorded as installed: "
        "another version, or the distribution of another author that has the same name on PyPI, was put over it; " + remedy
    )
