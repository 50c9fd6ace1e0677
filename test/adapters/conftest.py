"""What is expected to fail, and why."""

from __future__ import annotations

import pytest

# What two other projects disagree about: LangChain's suite, and the contract of the deepagents class that ours is made of
# (deepagents.backends.protocol). Both are the newest there are.
GLOB = "deepagents 0.7 finds absolute paths, and files only; langchain-tests 1.1.9 expects relative ones"
WRITE = "deepagents 0.7 writes over a file, as its contract says; langchain-tests 1.1.9 expects a refusal"
EXPECTED = {
    "test_glob": GLOB,
    "test_glob_basic_pattern": GLOB,
    "test_glob_with_directories": GLOB,
    "test_glob_hidden_files_explicitly": GLOB,
    "test_glob_with_character_class": GLOB,
    "test_glob_with_question_mark": GLOB,
    "test_write_existing_file_fails": WRITE,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them; one that passes one day is a failure, so that it is taken out here."""
    for item in items:
        if item.name in EXPECTED and "deepagents" in item.nodeid:
            item.add_marker(pytest.mark.xfail(reason=EXPECTED[item.name], strict=True))
