"""The bridge to a real pyro: errors, threads, recovery. No guest is needed."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp import (
    BinaryNotFoundError,
    BinaryTooOldError,
    BridgeError,
    InvalidArgumentError,
    NotFoundError,
    Pyro,
    PyroError,
    create_server,
)


def script(path: Path, body: str) -> str:
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(body)}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def process(p: Pyro) -> subprocess.Popen[bytes]:
    conversation = p._bridge._conversation
    assert conversation is not None
    return conversation._process


def test_failures_are_typed(pyro: Pyro) -> None:
    with pytest.raises(PyroError) as failure:
        pyro.status_vm("no-such-vm")
    assert failure.value.message
    with pytest.raises(InvalidArgumentError):
        pyro.run_in_vm(environment="debian:12", command="true", vcpu_count="two")  # type: ignore[arg-type]


def test_threads_share_a_process(pyro: Pyro) -> None:
    def ask(n: int) -> str:
        with pytest.raises(PyroError) as failure:
            pyro.status_vm(f"vm-{n}")
        return failure.value.message

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(100)))
    assert len(answers) == 100
    first = process(pyro).pid
    ask(1)
    assert process(pyro).pid == first


def test_killed_process_is_told_and_replaced(pyro: Pyro) -> None:
    with pytest.raises(PyroError):
        pyro.status_vm("x")
    old = process(pyro)
    old.kill()
    old.wait()
    failures = []
    for _ in range(2):
        with pytest.raises(PyroError) as failure:
            pyro.status_vm("x")
        failures.append(failure.value)
    assert not isinstance(failures[-1], BridgeError)
    assert process(pyro).pid != old.pid


def test_standards_are_not_sent(tmp_path: Path) -> None:
    # So a call works with a pyro that does not know all parameters yet, unless it uses one of those.
    echo = script(tmp_path / "pyro", """
        import json, sys
        for line in sys.stdin:
            m = json.loads(line)
            print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": m["params"]}), flush=True)
    """)
    with Pyro(binary=echo) as p:
        told: object = p.run_in_vm("debian:12", command="true")
        assert told == {"environment": "debian:12", "command": "true"}
        told = p.run_in_vm("debian:12", command="true", wait_seconds=0, network=True, mem_mib=1024)
        assert told == {"environment": "debian:12", "command": "true", "wait_seconds": 0, "network": True}


def test_killed_while_a_call_waits(tmp_path: Path) -> None:
    dying = script(tmp_path / "pyro", """
        import json, os, signal, sys
        for line in sys.stdin:
            m = json.loads(line)
            if m["method"] != "hello":
                os.kill(os.getpid(), signal.SIGKILL)
            print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": {}}), flush=True)
    """)
    with Pyro(binary=dying) as p:
        for _ in range(2):
            with pytest.raises(BridgeError, match="killed by signal 9"):
                p.list_environments()


def test_callbacks_run_in_the_callers_thread_and_may_fail(tmp_path: Path) -> None:
    talking = script(tmp_path / "pyro", """
        import json, sys
        say = lambda **m: print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
        for line in sys.stdin:
            m = json.loads(line)
            if m["method"] == "cancel":
                say(id=m["params"]["id"], error={"code": -32001, "message": "cancelled", "data": {"kind": "cancelled"}})
                sys.stderr.write("cancelled\\n")
            elif m["method"] == "hello" or m["method"] == "list_environments":
                say(id=m["id"], result={"environments": []})
            else:
                say(method="grease", params={"id": m["id"]})
                say(method="output", params={"id": m["id"], "stream": "stdout", "data": "AP8="})
                if m["params"]["command"] == "end":
                    say(id=m["id"], result={"exit_code": 0})
    """)
    with Pyro(binary=talking) as p:
        seen: list[tuple[bytes, int]] = []
        p.exec_task("t", command="end", on_stdout=lambda data: seen.append((data, threading.get_ident())))
        assert seen == [(b"\x00\xff", threading.get_ident())]

        def fail(data: bytes) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            p.exec_task("t", command="hang", on_stdout=fail)
        assert p.list_environments() == {"environments": []}


def test_missing_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Pyro(binary=tmp_path / "pyro") as p, pytest.raises(BinaryNotFoundError, match="no executable file"):
        p.list_environments()
    monkeypatch.setenv("PYRO_BINARY", str(tmp_path))
    with Pyro() as p, pytest.raises(BinaryNotFoundError, match="PYRO_BINARY names"):
        p.list_environments()


@pytest.mark.parametrize("body", [
    "import sys; print('pyro: unknown command', file=sys.stderr); sys.exit(2)",
    """
    import json, sys
    m = json.loads(input())
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "error": {"code": -32602, "message": "install a later one"}}), flush=True)
    input()
    """,
])
def test_old_binary(tmp_path: Path, body: str) -> None:
    with Pyro(binary=script(tmp_path / "pyro", body)) as p, pytest.raises(BinaryTooOldError, match="install a pyro of the same version"):
        p.list_environments()


def test_what_is_no_pyro(tmp_path: Path) -> None:
    with Pyro(binary=script(tmp_path / "pyro", "print('hello', flush=True); input()")) as p, pytest.raises(BridgeError):
        p.list_environments()


def test_closed(pyro: Pyro) -> None:
    with pytest.raises(PyroError):
        pyro.status_vm("x")
    child = process(pyro)
    pyro.close()
    assert child.returncode == 0
    with pytest.raises(BridgeError, match="closed"):
        pyro.list_environments()
    pyro.close()


def test_nothing_is_left_behind(binary: str, tmp_path: Path) -> None:
    """A Pyro that nobody closed ends with the interpreter."""
    code = """
        from pyro_mcp import Pyro, PyroError
        p = Pyro()
        try:
            p.status_vm("x")
        except PyroError:
            pass
        print(p._bridge._conversation._process.pid)
    """
    environment = {**os.environ, "PYRO_BINARY": binary, "PYRO_STATE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_server(binary: str, tmp_path: Path) -> None:
    assert create_server(profile="vm-run", binary=binary).command == [binary, "mcp", "serve", "--profile", "vm-run"]
    with pytest.raises(InvalidArgumentError):
        create_server(profile="all", binary=binary)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        create_server(binary=binary).run(transport="carrier-pigeon")
    code = "from pyro_mcp import create_server; create_server().run(transport='stdio')"
    hello = (
        '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
        '"clientInfo":{"name":"t","version":"1"}}}\n'
    )
    environment = {**os.environ, "PYRO_BINARY": binary, "PYRO_STATE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], input=hello, env=environment, capture_output=True, text=True, timeout=60)
    assert '"serverInfo"' in done.stdout, done.stderr
    assert done.returncode == 0


def test_long_input_goes_in_pieces(tmp_path: Path) -> None:
    counting = script(tmp_path / "pyro", """
        import base64, json, sys
        say = lambda **m: print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
        for line in sys.stdin:
            m = json.loads(line)
            if m["method"] == "input":
                data = base64.b64decode(m["params"]["data"])
                taken, credit = taken + len(data), credit - len(data)
                assert credit >= 0, "more than was wanted"
                if credit == 0:
                    credit = 1 << 19
                    say(method="wanted", params={"id": m["params"]["id"], "bytes": credit})
                if m["params"]["end"]:
                    say(id=m["params"]["id"], result={"exit_code": 0, "stdout": str(taken)})
            elif m["method"] == "hello":
                say(id=m["id"], result={})
            else:
                assert m["params"]["input"] and "stdin" not in m["params"]
                taken, credit = 0, 1 << 20
    """)
    with Pyro(binary=counting) as p:
        for stdin in (b"x" * (3 << 20) + b"y", "x" * (3 << 20) + "y", io.BytesIO(b"x" * (3 << 20) + b"y")):
            assert p.exec_task("t", command="cat", stdin=stdin)["stdout"] == str((3 << 20) + 1)


def test_oversized_call_fails_at_once(pyro: Pyro) -> None:
    with pytest.raises(InvalidArgumentError, match="more than"):
        pyro.run_in_vm("debian:12", command="x" * (17 << 20))
    with pytest.raises(NotFoundError):
        pyro.status_vm("vm-0")


def test_refusal_without_id_fails_what_waits(tmp_path: Path) -> None:
    refusing = script(tmp_path / "pyro", """
        import json, sys
        for line in sys.stdin:
            m = json.loads(line)
            answer = {"result": {}} if m["method"] == "hello" else {"error": {"code": -32600, "message": "cannot be read"}}
            print(json.dumps({"jsonrpc": "2.0", "id": m["id"] if m["method"] == "hello" else None, **answer}), flush=True)
    """)
    with Pyro(binary=refusing) as p, pytest.raises(PyroError, match="cannot be read"):
        p.list_environments()
