"""What Harbor asks of an environment, through its own factory and a trial's paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from harbor.environments.factory import EnvironmentFactory
from harbor.models.environment_type import EnvironmentType
from harbor.models.task.config import EnvironmentConfig, NetworkMode, NetworkPolicy
from harbor.models.trial.config import EnvironmentConfig as TrialEnvironmentConfig
from harbor.models.trial.paths import TrialPaths

from pyro_mcp.harbor import PyroEnvironment


@pytest.mark.asyncio
async def test_a_trial(tmp_path: Path) -> None:
    (tmp_path / "environment").mkdir()
    paths = TrialPaths(tmp_path / "trial")
    paths.mkdir()
    environment = EnvironmentFactory.create_environment_from_config(
        config=TrialEnvironmentConfig(import_path="pyro_mcp.harbor:PyroEnvironment"),
        environment_dir=tmp_path / "environment", environment_name="check", session_id="check__1", trial_paths=paths,
        task_env_config=EnvironmentConfig(docker_image="debian:12", workdir="/srv/work"),
        network_policy=NetworkPolicy(network_mode=NetworkMode.NO_NETWORK),
    )
    assert isinstance(environment, PyroEnvironment)
    await environment.start(force_build=False)
    try:
        result = await environment.exec("set -o pipefail; pwd; echo $A; id -un >&2; exit 4", env={"A": "x y"}, user="nobody")
        assert (result.stdout, result.stderr, result.return_code) == ("/srv/work\nx y\n", "nobody\n", 4)
        with pytest.raises(TimeoutError):
            await environment.exec("sleep 60", timeout_sec=1)
        source = tmp_path / "source"
        (source / "sub").mkdir(parents=True)
        (source / "sub" / "é").write_bytes(bytes(range(256)))
        (source / "run.sh").write_text("#!/bin/sh\necho ran\n")
        (source / "run.sh").chmod(0o755)
        await environment.upload_dir(source, "/tests")
        assert (await environment.exec("/tests/run.sh")).stdout == "ran\n"
        await environment.upload_file(source / "run.sh", "/deep/er/file")
        await environment.download_dir("/tests", tmp_path / "back")
        assert (tmp_path / "back" / "sub" / "é").read_bytes() == bytes(range(256))
        await environment.download_file("/deep/er/file", tmp_path / "there" / "file")
        assert (tmp_path / "there" / "file").read_text() == (source / "run.sh").read_text()
        assert await environment.is_dir("/tests") and await environment.is_file("/tests/run.sh")
    finally:
        await environment.stop(delete=True)


def test_no_kind_of_harbors_has_the_name() -> None:
    assert "pyro" not in [kind.value for kind in EnvironmentType]
