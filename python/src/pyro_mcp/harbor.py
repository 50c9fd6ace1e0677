"""An environment for Harbor: harbor run --environment-import-path pyro_mcp.harbor:PyroEnvironment … A trial has a task of its own."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

from harbor.environments.base import BaseEnvironment, ExecResult
from harbor.environments.capabilities import EnvironmentCapabilities, EnvironmentResourceCapabilities
from harbor.environments.options import EnvironmentOptions
from harbor.models.task.config import NetworkMode

from ._async_client import AsyncPyro
from ._guestfiles import Collected
from .errors import NotFoundError

OUTPUT_LIMIT = 64 << 20


class Options(EnvironmentOptions):
    """What may be said of the environment on Harbor's command line."""

    environment: str | None = None
    """The environment of trials, or an image; the task's own docker_image if it is left out."""

    ttl_seconds: int = 6 * 3600


class PyroEnvironment(BaseEnvironment):
    """A trial's task. Images are named by the task's docker_image, or by the option environment: none are built."""

    options_model = Options
    options: Options

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pyro: AsyncPyro | None = None
        self._task = ""

    @staticmethod
    def type() -> str:
        """Give the name of this kind."""
        return "pyro"

    @property
    def capabilities(self) -> EnvironmentCapabilities:
        """Tell Harbor what can be asked for."""
        return EnvironmentCapabilities(
            disable_internet=True, network_allowlist=True, network_allowlist_hostnames=True,
            network_allowlist_wildcard_hostnames=True, network_allowlist_ipv4_addresses=True, network_allowlist_ipv4_cidrs=True)

    @classmethod
    def resource_capabilities(cls) -> EnvironmentResourceCapabilities:
        """Tell Harbor that sizes are limits here."""
        return EnvironmentResourceCapabilities(cpu_limit=True, memory_limit=True)

    def _validate_definition(self) -> None:
        if not self._name():
            raise ValueError(
                "the task names no image: set [environment].docker_image in its task.toml, or give the option environment=…")

    def _name(self) -> str | None:
        return self.options.environment or self.task_env_config.docker_image

    async def start(self, force_build: bool) -> None:
        """Create the task."""
        mode = self.network_policy.network_mode
        self._pyro = AsyncPyro()
        await self._pyro.__aenter__()
        try:
            made = await self._pyro.create_task(
                self._name() or "", ttl_seconds=self.options.ttl_seconds,
                vcpu_count=max(1, math.ceil(self._effective_cpus or 1)), mem_mib=self._effective_memory_mb or 1024,
                disk_mib=max(8192, self._effective_storage_mb or 0), network=mode != NetworkMode.NO_NETWORK,
                allow=self.network_policy.allowed_hosts or None, metadata={"made_by": "harbor", "session": self.session_id[:200]})
            self._task = made["task_id"]
            if workdir := self.task_env_config.workdir:
                await self._pyro.exec_task(self._task, command=["mkdir", "-p", workdir], user="root")
            await self.ensure_dirs(self._mount_targets(writable_only=True))
            await self._upload_environment_dir_after_start()
        except BaseException:
            await self.stop(delete=True)
            raise

    async def stop(self, delete: bool) -> None:
        """End the task, and delete it if that is wanted; else its TTL does."""
        pyro, task = self._pyro, self._task
        self._pyro, self._task = None, ""
        if pyro is None:
            return
        try:
            if task and delete:
                await pyro.delete_task(task)
        except NotFoundError:
            pass  # its TTL was over
        finally:
            await pyro.close()

    async def exec(
        self, command: str, cwd: str | None = None, env: dict[str, str] | None = None, timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        """Run a command line with bash if the environment has it."""
        who = self._resolve_user(user)
        out, err = Collected(OUTPUT_LIMIT), Collected(OUTPUT_LIMIT)
        result = await self._running().exec_task(
            self._task, command=command, workdir=cwd or self.task_env_config.workdir, env=self._merge_env(env) or None,
            user=None if who is None else str(who), timeout_seconds=timeout_sec or 0, on_stdout=out, on_stderr=err)
        if result.get("timed_out"):
            raise TimeoutError(f"the command did not end within {timeout_sec} s")
        return ExecResult(stdout=out.text(), stderr=err.text(), return_code=result["exit_code"])

    async def upload_file(self, source_path: Path | str, target_path: str) -> None:
        """Copy a file into the task."""
        await self._make_directory(str(Path(target_path).parent))
        await self._running().upload(self._task, host_path=source_path, path=target_path)

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        """Copy what is in a directory into one of the task."""
        await self._make_directory(target_dir)
        for entry in Path(source_dir).iterdir():
            target = f"{target_dir.rstrip('/')}/{entry.name}"
            if entry.is_dir() and not entry.is_symlink():
                await self.upload_dir(entry, target)
            else:
                await self._running().upload(self._task, host_path=entry, path=target)

    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        """Copy a file of the task to the host."""
        Path(target_path).parent.mkdir(parents=True, exist_ok=True)
        await self._running().download(self._task, path=source_path, host_path=target_path)

    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        """Copy what is in a directory of the task into one of the host, over what is there."""
        Path(target_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "copy"
            await self._running().download(self._task, path=source_dir, host_path=copy)
            shutil.copytree(copy, target_dir, symlinks=True, dirs_exist_ok=True)

    async def _make_directory(self, path: str) -> None:
        await self._running().exec_task(self._task, command=["mkdir", "-p", "--", path], user="root")

    def _running(self) -> AsyncPyro:
        if self._pyro is None:
            raise RuntimeError("the environment has not been started")
        return self._pyro
