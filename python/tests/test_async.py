"""AsyncPyro, on the bridge alone and on real guests."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import pytest
from test_bridge import script

from pyro_mcp import AsyncPyro, BridgeError, NotFoundError

ENVIRONMENT = os.environ.get("PYRO_TEST_ENVIRONMENT", "debian:12")


def test_calls_run_side_by_side(binary: str, tmp_path: Path) -> None:
    async def ask(p: AsyncPyro, n: int) -> None:
        with pytest.raises(NotFoundError):
            await p.status_vm(f"vm-{n}")

    async def main() -> None:
        async with AsyncPyro(binary=binary, state_dir=tmp_path) as p:
            await asyncio.gather(*(ask(p, n) for n in range(50)))
        with pytest.raises(BridgeError, match="closed"):
            await p.list_vms()

    asyncio.run(main())


def test_process_that_dies_is_replaced(tmp_path: Path) -> None:
    dying = script(tmp_path / "pyro", """
        import json, os, signal, sys
        for line in sys.stdin:
            m = json.loads(line)
            if m["method"] != "hello":
                os.kill(os.getpid(), signal.SIGKILL)
            print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": {}}), flush=True)
    """)

    async def main() -> None:
        async with AsyncPyro(binary=dying) as p:
            for _ in range(2):
                with pytest.raises(BridgeError, match="killed by SIGKILL"):
                    await p.list_environments()

    asyncio.run(main())


def test_commands_in_a_task(binary: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncPyro(binary=binary, state_dir=tmp_path) as p, p.task(ENVIRONMENT) as task:
            seen: list[bytes] = []
            results = await asyncio.gather(
                task.exec("cat", stdin="text"),
                task.exec(["printf", "%s|", "a b", "c"], on_stdout=seen.append),
                task.exec("wc -c", stdin=io.BytesIO(b"x" * (3 << 20)), timeout_seconds=120),
            )
            assert [r["stdout"].strip() for r in results] == ["text", "a b|c|", str(3 << 20)]
            assert b"".join(seen) == b"a b|c|"
            async with p.vm(ENVIRONMENT) as vm:
                assert (await vm.exec("echo in a VM"))["stdout"] == "in a VM\n"
            await task.files.write("note", b"\xff")
            assert await task.files.read_bytes("note") == b"\xff"
            assert [f["size_bytes"] for f in await task.files.list()] == [1]
            started = asyncio.Event()
            sleeping = asyncio.create_task(
                task.exec("echo; exec sleep 600", timeout_seconds=600, on_stdout=lambda _: started.set()))
            await started.wait()
            sleeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeping
            gone = await task.exec("while pgrep -x sleep >/dev/null; do :; done; echo none")
            assert gone["stdout"] == "none\n"
            assert (await p.list_vms())["tasks"][0]["task_id"] == task.id
        async with AsyncPyro(binary=binary, state_dir=tmp_path) as p:
            assert (await p.list_vms())["tasks"] == []

    asyncio.run(main())


def test_output_is_iterated_over(binary: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncPyro(binary=binary, state_dir=tmp_path) as p, p.task(ENVIRONMENT) as task:
            async with task.stream("read -r line; echo $line; exit 3", stdin="größe\n") as run:
                assert [piece async for piece in run] == [("stdout", "größe\n")]
                assert run.result["exit_code"] == 3
            async with p.stream(task.id, "echo $$; exec sleep 600", timeout_seconds=0) as run:
                pid = (await run.__anext__())[1]
            assert (await task.exec(f"test -e /proc/{pid.strip()}"))["exit_code"] == 1, "it runs on"
            with pytest.raises(asyncio.TimeoutError):
                async with task.stream("echo $$; exec sleep 600", timeout_seconds=0) as run:
                    pid = (await run.__anext__())[1]
                    await asyncio.wait_for(run.__anext__(), 0.1)
            assert (await task.exec(f"test -e /proc/{pid.strip()}"))["exit_code"] == 1, "it runs on"

    asyncio.run(main())
