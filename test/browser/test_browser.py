"""A browser of the host's on a page of a server in a task, through a forwarded port."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

SERVER = (Path(__file__).parent / "server.py").read_text()


def pyro(*words: str) -> str:
    command = [os.environ["PYRO_BINARY"], "-q", *words]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, timeout=300).stdout.strip()


def test_a_page_that_reloads_itself() -> None:
    task = pyro("task", "create", "debian:12")
    pyro("task", "service", "start", task, "dev", "--ready-http", "3000/", "--", "python3", "-c", SERVER)
    address = pyro("task", "forward", "--detach", task, "0:3000")
    expect.set_options(timeout=120_000)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"http://{address}/")
        expect(page.locator("h1")).to_have_text("first")
        expect(page.locator("#assets")).to_have_text("60")
        # What is written in the task is to be seen at once: the server tells the page over a WebSocket.
        pyro("task", "exec", task, "--", "sh", "-c", "printf second >heading")
        expect(page.locator("h1")).to_have_text("second")
        expect(page.locator("#assets")).to_have_text("60")
        assert faults == []
        browser.close()
    pyro("task", "delete", task)
