"""What the package says of the distribution that it came by, and the ancestors of its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp import InvalidArgumentError, NotFoundError, PyroError, PyroTimeoutError, __version__, _origin


def test_a_distribution_that_was_put_over_ours_is_named(tmp_path: Path) -> None:
    package = tmp_path / "pyro_mcp"
    package.mkdir()
    _origin.check(package)  # a source tree records nothing
    theirs = tmp_path / "pyro_mcp-4.3.0.dist-info"
    theirs.mkdir()
    with pytest.raises(ImportError, match=r"pyro-mcp 4\.3\.0 is recorded .* another author .* pip uninstall"):
        _origin.check(package)
    (tmp_path / f"pyro_mcp-{__version__}.dist-info").mkdir()
    _origin.check(package)


def test_the_version_line_is_above_the_other_distributions() -> None:
    assert int(__version__.split(".")[0]) >= 5


def test_errors_have_the_ancestors_that_programs_catch() -> None:
    assert issubclass(PyroError, RuntimeError)
    assert issubclass(NotFoundError, (LookupError, ValueError))
    assert issubclass(NotFoundError, ValueError) and issubclass(InvalidArgumentError, ValueError)
    assert issubclass(PyroTimeoutError, TimeoutError)
