"""What Ray's launcher is given for AWS is what it, and EC2, take; the token is in none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.testing import CliRunner

from cluster.cli import app
from cluster.cluster_spec import AwsClusterSpec
from cluster.launcher.aws import check_launcher_config, render_aws
from cluster.launcher.run import launch
from cluster.local.record import token_path
from cvcore.errors import SpecError
from jobs.outcome import JobFailed

PROFILE = "arn:aws:iam::123456789012:instance-profile/fleet"
SPEC: dict[str, Any] = {
    "provider": "aws",
    "name": "fleet",
    "region": "eu-west-1",
    "zones": ["eu-west-1a", "eu-west-1b"],
    "image": "ami-0123456789abcdef0",
    "container": "registry.example.com/veedor:0.1.0",
    "instance_profile": PROFILE,
    "subnets": ["subnet-1"],
    "security_groups": ["sg-1"],
    "setup": ["pip list"],
    "workers": {
        "gpu": {"instance_type": "g6.2xlarge", "count": 2, "max_count": 8, "spot": True},
        "cpu": {"instance_type": "c7i.4xlarge", "disk_gib": 80},
    },
}


def rendered(**changes: Any) -> dict[str, Any]:
    return render_aws(AwsClusterSpec.model_validate({**SPEC, **changes}), token_file=Path("/kept/token"))


def test_ray_takes_it() -> None:
    config = rendered()
    check_launcher_config(config)
    validate_config(prepare_config(config))  # what `ray up` does before it talks to AWS
    kinds = config["available_node_types"]
    assert (kinds["gpu"]["min_workers"], kinds["gpu"]["max_workers"]) == (2, 8)
    assert config["max_workers"] == 9
    assert kinds["head"]["resources"] == {"CPU": 0, "GPU": 0}, "jobs compute on workers"


@pytest.mark.parametrize("kind", ["head", "gpu", "cpu"])
def test_ec2_takes_each_machine(kind: str) -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    config = dict(rendered()["available_node_types"][kind]["node_config"])
    (subnet,) = config.pop("SubnetIds")  # of which Ray chooses one for each machine
    arguments = {**config, "SubnetId": subnet, "MinCount": 1, "MaxCount": 1}
    shape = model.operation_model("RunInstances").input_shape
    assert not botocore.validate.ParamValidator().validate(arguments, shape).has_errors()


def test_all_servers_ask_for_the_token_which_goes_as_a_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    config = rendered()
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = [line for line in config[commands] if "ray start" in line]
        assert "RAY_AUTH_MODE=token" in start
    assert "--dashboard-host=127.0.0.1" in str(config["head_start_ray_commands"])
    assert config["file_mounts"] == {"~/.ray/auth_token": "/kept/token"}
    for machine in config["available_node_types"].values():
        assert machine["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert machine["node_config"]["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def test_what_the_launcher_would_not_take_is_said() -> None:
    config = rendered()
    with pytest.raises(SpecError, match=r"max_workers: -1 is less than the minimum"):
        check_launcher_config({**config, "max_workers": -1})
    with pytest.raises(SpecError, match="'extra' was unexpected"):
        check_launcher_config({**config, "extra": 1})


def test_render_prints_it_and_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    result = CliRunner().invoke(app, ["up", "--config", str(path), "--render"])
    assert result.exit_code == 0, result.output
    check_launcher_config(yaml.safe_load(result.output))
    assert not (tmp_path / "state").exists()


def test_the_launcher_runs_with_a_private_token_and_its_failure_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda tool: tool)
    commands: list[list[str]] = []

    class Done:
        returncode = 1

    def run(command: list[str]) -> Done:
        commands.append(command)
        return Done()

    monkeypatch.setattr("subprocess.run", run)
    spec = AwsClusterSpec.model_validate(SPEC)
    with pytest.raises(JobFailed, match=r"veedor down --name fleet returns them"):
        launch(spec)
    token = token_path("fleet").read_text().strip()
    assert token_path("fleet").stat().st_mode & 0o077 == 0
    config = Path(commands[0][-1])
    assert commands[0][-3:] == ["up", "--yes", str(config)]
    assert token not in config.read_text()
    with pytest.raises(JobFailed):
        launch(spec)
    assert token_path("fleet").read_text().strip() == token, "a cluster keeps its token"
