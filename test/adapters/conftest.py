"""What is expected to fail, and why."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what two other projects disagree about: LangChain's suite, and the deepagents class that ours is made of."""
    for item in items:
        if item.name.startswith("test_glob") and "deepagents" in item.nodeid:
            reason = "deepagents 0.7 finds absolute paths, and files only; langchain-tests 1.1.9 expects relative ones"
        elif item.name == "test_write_existing_file_fails":
            reason = "deepagents 0.7 writes over a file; langchain-tests 1.1.9 expects a refusal"
        else:
            continue
        item.add_marker(pytest.mark.xfail(reason=reason))
