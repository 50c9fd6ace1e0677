"""E2B's unmodified SDK for Python, and openai-agents' client on it, against pyro serve e2b on real guests."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    Sandbox,
    SandboxNotFoundException,
    SandboxQuery,
    TimeoutException,
)
from e2b.exceptions import AuthenticationException, SandboxException
from e2b.sandbox.commands.command_handle import PtySize


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of our own, by the variables that it prints."""
    state = tmp_path_factory.mktemp("state")
    process = subprocess.Popen(
        [os.environ["PYRO_BINARY"], "serve", "e2b", "--listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYRO_STATE_DIR": str(state)})
    assert process.stderr
    process.stderr.readline()
    line = process.stderr.readline()
    settings = dict(re.findall(r"(\w+)=(\S+)", line))
    assert set(settings) == {"E2B_API_URL", "E2B_SANDBOX_URL", "E2B_API_KEY"}, line
    os.environ.update(settings)
    yield settings["E2B_API_URL"]
    process.terminate()
    assert process.wait(20) == 0 or process.returncode == 130 or process.returncode == 143
    assert [vm for vm in os.listdir(state / "vms") if not vm.startswith(".")] == [], "sandboxes are left"


@pytest.fixture(scope="module")
def sandbox(server: str) -> Iterator[Sandbox]:
    s = Sandbox.create(timeout=600, metadata={"job": "a b"}, envs={"OUTER": "1"})
    yield s
    assert s.kill()
    assert not s.is_running()


def test_commands(sandbox: Sandbox) -> None:
    out: list[str] = []
    result = sandbox.commands.run(
        'echo "$OUTER $INNER"; pwd; echo err >&2', envs={"INNER": "x y"}, cwd="/tmp", on_stdout=out.append)
    assert (result.stdout, result.stderr, result.exit_code) == ("1 x y\n/tmp\n", "err\n", 0)
    assert "".join(out) == result.stdout
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run("echo why >&2; exit 3")
    assert (failure.value.exit_code, failure.value.stderr) == (3, "why\n")
    with pytest.raises(InvalidArgumentException, match="does not exist"):
        sandbox.commands.run("true", cwd="/no/such")
    assert sandbox.commands.run("id -un", user="nobody").stdout == "nobody\n"
    with pytest.raises(TimeoutException):
        sandbox.commands.run("sleep 600", timeout=1)


def test_processes(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("cat; echo end", background=True, stdin=True)
    assert handle.pid in [p.pid for p in sandbox.commands.list()]
    sandbox.commands.send_stdin(handle.pid, "typed\n")
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == "typed\nend\n"
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, iter([b"a\n", b"b\n"]))
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == "a\nb\n"
    handle = sandbox.commands.run("echo started; exec sleep 600", background=True)
    handle.disconnect()
    again = sandbox.commands.connect(handle.pid)
    assert sandbox.commands.kill(handle.pid)
    with pytest.raises(CommandExitException):
        again.wait()
    assert not sandbox.commands.kill(987654)


def test_terminal(sandbox: Sandbox) -> None:
    seen: list[bytes] = []
    terminal = sandbox.pty.create(PtySize(rows=30, cols=70))
    sandbox.pty.resize(terminal.pid, PtySize(rows=31, cols=71))
    sandbox.pty.send_stdin(terminal.pid, b"echo $((40+2)); stty size; exit 5\n")
    with pytest.raises(CommandExitException) as end:
        terminal.wait(on_pty=seen.append)
    assert end.value.exit_code == 5
    assert b"\r42\r\n31 71\r\n" in b"".join(seen)
    terminal = sandbox.pty.create(PtySize(rows=30, cols=70))
    terminal.disconnect()
    again = sandbox.pty.connect(terminal.pid)
    assert sandbox.pty.kill(terminal.pid)
    with pytest.raises(CommandExitException):
        again.wait()


def test_files(sandbox: Sandbox) -> None:
    files = sandbox.files
    files.write("/tmp/t/größe.txt", "Inhalt é")
    assert files.read("/tmp/t/größe.txt") == "Inhalt é"
    content = bytes(range(256)) * 4096
    files.write_files([{"path": "/tmp/t/a", "data": content}, {"path": "/tmp/t/b", "data": ""}])
    assert bytes(files.read("/tmp/t/a", format="bytes")) == content
    assert files.read("/tmp/t/b") == ""
    assert b"".join(files.read("/tmp/t/a", format="stream")) == content
    assert files.make_dir("/tmp/t/d/e") and not files.make_dir("/tmp/t/d/e")
    assert {e.name: e.size for e in files.list("/tmp/t") if e.type.value == "file"} == {
        "größe.txt": 9, "a": len(content), "b": 0}
    assert {e.path for e in files.list("/tmp/t", depth=2)} >= {"/tmp/t/d", "/tmp/t/d/e"}
    assert files.rename("/tmp/t/a", "/tmp/t/new/c").path == "/tmp/t/new/c"
    assert files.exists("/tmp/t/new/c") and not files.exists("/tmp/t/a")
    sandbox.commands.run("ln -s c /tmp/t/new/link; chmod 750 /tmp/t/new/c")
    info = files.get_info("/tmp/t/new/c")
    assert (info.permissions, info.owner, info.size) == ("-rwxr-x---", "root", len(content))
    assert files.get_info("/tmp/t/new/link").symlink_target == "c"
    files.remove("/tmp/t/new")
    for wrong in (files.read, files.list, files.get_info):
        with pytest.raises(NotFoundException):
            wrong("/tmp/t/new")
    files.write("relative", "here")
    assert sandbox.commands.run("cat /workspace/relative").stdout == "here"


def test_watching(sandbox: Sandbox) -> None:
    sandbox.files.make_dir("/tmp/w")
    watch = sandbox.files.watch_dir("/tmp/w", recursive=True)
    sandbox.files.write("/tmp/w/sub/f", "1")
    seen: set[tuple[str, str]] = set()
    while ("sub/f", "write") not in seen:
        seen |= {(e.name, e.type.value) for e in watch.get_new_events()}
    assert {("sub", "create"), ("sub/f", "create")} <= seen
    watch.stop()


def test_links_to_files(sandbox: Sandbox) -> None:
    sandbox.files.write("/tmp/linked", "by link")
    url = sandbox.download_url("/tmp/linked", use_signature_expiration=60)
    header = {"E2b-Sandbox-Id": sandbox.sandbox_id}
    with urllib.request.urlopen(urllib.request.Request(url, headers=header)) as answer:
        assert answer.read() == b"by link"
    part = "Content-Disposition: form-data; name=\"file\"; filename=\"up\"\r\n\r\nby link, too\r\n"
    upload = urllib.request.Request(
        sandbox.upload_url("/tmp/up", use_signature_expiration=60), f"--x\r\n{part}--x--\r\n".encode(),
        {**header, "Content-Type": "multipart/form-data; boundary=x"})
    urllib.request.urlopen(upload).close()
    assert sandbox.files.read("/tmp/up") == "by link, too"
    forged = url.replace("linked", "other")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(forged, headers=header))
    assert refused.value.code == 401


def test_ports_by_host_name(sandbox: Sandbox) -> None:
    sandbox.files.write("/srv/www/index.html", "from the guest")
    sandbox.commands.run(
        "cd /srv/www && exec python3 -m http.server --bind 127.0.0.1 8000", background=True, timeout=0)
    host = sandbox.get_host(8000)
    assert re.fullmatch(r"8000-task-[0-9a-f]+\.localhost:\d+", host)
    server = os.environ["E2B_API_URL"].removeprefix("http://")

    def ask(name: str) -> tuple[int, str]:
        # What a browser does: the name is resolved to this machine, and stays in the Host header.
        connection = http.client.HTTPConnection(server, timeout=60)
        connection.request("GET", "/index.html", headers={"Host": name})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    while (got := ask(host))[0] == 502:
        assert "port is not open" in got[1]
    assert got == (200, "from the guest")
    assert ask(host.replace("8000-", "8001-"))[0] == 502
    assert ask(host.replace(sandbox.sandbox_id, "task-000000000000"))[0] == 502


def test_life(sandbox: Sandbox) -> None:
    info = sandbox.get_info()
    assert (info.state.value, info.metadata, info.cpu_count) == ("running", {"job": "a b"}, 1)
    sandbox.set_timeout(900)
    assert sandbox.get_info().end_at > info.end_at
    listed = Sandbox.list(query=SandboxQuery(metadata={"job": "a b"})).next_items()
    assert [s.sandbox_id for s in listed] == [sandbox.sandbox_id]
    assert Sandbox.list(query=SandboxQuery(metadata={"job": "other"})).next_items() == []
    assert Sandbox.connect(sandbox.sandbox_id).commands.run("echo again").stdout == "again\n"
    assert sandbox.get_metrics()[0].mem_total > 500 << 20
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect("task-000000000000")
    assert not Sandbox.kill("task-000000000000")


def test_what_is_not_allowed(sandbox: Sandbox) -> None:
    with pytest.raises(AuthenticationException):
        Sandbox.create(api_key="e2b_" + "0" * 40)
    with pytest.raises(SandboxException, match="allow-network"):
        Sandbox.create(allow_internet_access=True)
    with pytest.raises(SandboxException, match="there is no PUT"):
        sandbox.update_network({"allow_out": ["example.org"]})
    request = urllib.request.Request(
        os.environ["E2B_SANDBOX_URL"] + "/files?path=/etc/shadow",
        headers={"E2b-Sandbox-Id": sandbox.sandbox_id},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 401


def test_a_sandbox_ends_in_time() -> None:
    short = Sandbox.create(timeout=1)
    busy = short.commands.run("while :; do echo; sleep 0.1; done", background=True, timeout=0)
    with pytest.raises(Exception):  # noqa: B017 - which one depends on the moment
        busy.wait()
    while short.is_running():
        pass


def test_a_sandbox_is_paused_in_time() -> None:
    short = Sandbox.create(timeout=2, lifecycle={"on_timeout": "pause"})
    while short.is_running():
        pass
    assert short.get_info().state.value == "paused"
    again = Sandbox.connect(short.sandbox_id, timeout=120)
    assert again.is_running() and again.commands.run("echo on").stdout == "on\n"
    again.kill()


def test_git(sandbox: Sandbox) -> None:
    git, there = sandbox.git, "/tmp/repository"
    git.init(there)
    git.configure_user("A", "a@example.org")
    sandbox.files.write(f"{there}/f", "1")
    git.add(there)
    git.commit(there, "first")
    git.create_branch(there, "topic")
    assert git.status(there).current_branch == "topic"


def test_asyncio() -> None:
    async def main() -> list[str]:
        s = await AsyncSandbox.create(timeout=120)
        try:
            results = await asyncio.gather(*(s.commands.run(f"echo {n}") for n in range(4)))
            return [r.stdout for r in results]
        finally:
            await s.kill()

    assert asyncio.run(main()) == ["0\n", "1\n", "2\n", "3\n"]


def test_javascript(tmp_path: Path) -> None:
    folder = os.environ["PYRO_TEST_E2B_NODE"]
    subprocess.run(["node", str(Path(__file__).with_name("sdk.mjs"))], cwd=folder, check=True, timeout=120)


def test_snapshots(sandbox: Sandbox) -> None:
    sandbox.commands.run("echo before >/tmp/s; (exec -a marker sleep 600) >/dev/null 2>&1 &")
    sandbox.pause()
    assert sandbox.get_info().state.value == "paused"
    sandbox.connect()
    assert sandbox.commands.run("cat /tmp/s; pgrep -fc marker").stdout == "before\n1\n"
    fork, = sandbox.fork(count=1)
    assert isinstance(fork, Sandbox)
    fork.commands.run("echo fork >/tmp/s")
    assert sandbox.commands.run("cat /tmp/s").stdout == "before\n"
    fork.kill()
    taken = sandbox.create_snapshot()
    sandbox.commands.run("echo after >/tmp/s")
    again = Sandbox.create(taken.snapshot_id, timeout=120)
    assert again.commands.run("cat /tmp/s").stdout == "before\n"
    again.kill()
    assert taken.snapshot_id in [s.snapshot_id for s in sandbox.list_snapshots().next_items()]
    assert Sandbox.delete_snapshot(taken.snapshot_id)
