"""What a stranger gets wrong: one clear message, exit code 2, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.train_command import augment_steps
from tests.corpus import TOY_CFG, good_image, toy_model
from tests.runs import last_event
from tests.s3_files import client, new_bucket, upload
from tests.s3_servers import S3Server


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(good_image(1))
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> list[str]:
    model = toy_model(tmp_path / "toy")
    return ["--model", model["name"], "--weights", model["weights"], "--labels", model["labels"]]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def check_refused(result: Result, out: Path | None, *words: str) -> None:
    """Exit code 2, the words in one message without a traceback, and no output folder."""
    assert result.exit_code == 2, result.output
    text = " ".join(result.output.split())
    assert "error: " in text, text
    assert "Traceback" not in text
    for word in words:
        assert word in text, text
    assert out is None or not out.exists()


def test_a_missing_folder(tmp_path: Path, toy: list[str]) -> None:
    out = tmp_path / "out"
    check_refused(
        run("annotate", tmp_path / "nowhere", "--out", out, *toy), out, "there is no folder", "nowhere"
    )


def test_an_empty_folder_says_what_was_passed_over(tmp_path: Path, toy: list[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("x")
    out = tmp_path / "out"
    result = run("annotate", tmp_path / "in", "--out", out, *toy)
    check_refused(result, out, "no image or video", "1 .txt", "source.include")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--model", "tinny"], ["no model 'tinny'", "Did you mean 'tiny'"], id="misspelt model"),
        pytest.param(["--model", "darknet19"], ["weights"], id="no weights"),
        pytest.param(["--model", "gone.cfg", "--weights", "x"], ["cannot be read", "gone.cfg"], id="no cfg"),
        pytest.param(["--min-score", "1.5"], ["annotate.min_score", "less than or equal to 1"], id="range"),
        pytest.param(["--weights", "gone.safetensors"], ["gone.safetensors"], id="no such weights"),
        pytest.param(["--profile", "nobody", "--weights", "s3://b/w"], ["--profile"], id="profile"),
    ],
)
def test_a_model_or_option_that_cannot_be(
    photos: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    out = tmp_path / "out"
    check_refused(run("annotate", photos, "--out", out, *arguments), out, *words)


def test_weights_that_do_not_fit_say_where(photos: Path, tmp_path: Path, toy: list[str]) -> None:
    weights = tmp_path / "toy" / "toy.weights"
    weights.write_bytes(weights.read_bytes()[:-40])
    out = tmp_path / "out"
    check_refused(run("annotate", photos, "--out", out, *toy), out, "toy.weights", "layer")


def test_labels_of_another_number(photos: Path, tmp_path: Path, toy: list[str]) -> None:
    (tmp_path / "toy" / "toy.names").write_text("one\ntwo\n")
    out = tmp_path / "out"
    check_refused(run("annotate", photos, "--out", out, *toy), out, "2", "3", "labels")


def test_a_cfg_with_a_misspelt_key_names_its_line(photos: Path, tmp_path: Path, toy: list[str]) -> None:
    (tmp_path / "toy" / "toy.cfg").write_text(TOY_CFG.replace("filters=8", "filtres=8", 1))
    out = tmp_path / "out"
    check_refused(run("annotate", photos, "--out", out, *toy), out, "line 8", "filters")


def test_a_misspelt_spec_key(photos: Path, tmp_path: Path) -> None:
    spec = tmp_path / "annotate.yaml"
    spec.write_text(f"source: {{uri: {photos}}}\nsink: {{uri: {tmp_path}/out}}\nmodle: {{name: tiny}}\n")
    check_refused(run("run", spec), tmp_path / "out", "modle", "Did you mean 'model'", "annotate.yaml")


def test_a_spec_that_is_not_there(tmp_path: Path) -> None:
    check_refused(run("run", tmp_path / "none.yaml"), None, "cannot read", "none.yaml")


def test_an_output_folder_that_holds_other_things(photos: Path, tmp_path: Path, toy: list[str]) -> None:
    out = tmp_path / "out"
    (out / "data").mkdir(parents=True)
    (out / "data" / "mine.csv").write_text("precious")
    check_refused(run("annotate", photos, "--out", out, *toy), None, "no job of ours", "another folder")
    assert [p.name for p in out.rglob("*")] == ["data", "mine.csv"]


@pytest.mark.usefixtures("ray_cluster")
def test_another_jobs_folder_and_more_actors_than_fit(photos: Path, tmp_path: Path, toy: list[str]) -> None:
    out = tmp_path / "out"
    crowded = run("annotate", photos, "--out", tmp_path / "crowded", "--actors", "50", *toy)
    check_refused(crowded, tmp_path / "crowded", "50 actors", "do not fit", "room for 2", "resources.actors")
    done = run("annotate", photos, "--out", out, *toy, "--json")
    assert done.exit_code == 0, done.output
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    result = run("annotate", photos, "--out", out, *toy, "--min-score", "0.5")
    check_refused(result, None, "another job", "annotate.min_score was 0.25 and is 0.5", "another folder")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_missing_bucket_an_empty_prefix_and_no_permission(s3_environment: S3Server, toy: list[str]) -> None:
    bucket = new_bucket(s3_environment)
    out = f"s3://{bucket}/out/"
    missing = run("annotate", "s3://no-such-bucket-at-all/x/", "--out", out, *toy)
    check_refused(missing, None, "no bucket 'no-such-bucket-at-all'")
    check_refused(run("annotate", f"s3://{bucket}/none/", "--out", out, *toy), None, "no image or video")
    upload(s3_environment, bucket, {"in/a.jpg": good_image(1)})
    check_refused(
        run("annotate", f"s3://{bucket}/in/", "--out", "s3://no-such-bucket-at-all/out/", *toy),
        None,
        "no bucket 'no-such-bucket-at-all'",
    )
    if s3_environment.kind == "ceph":  # moto enforces no policy
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:ListBucket",
                    "Resource": f"arn:aws:s3:::{bucket}",
                }
            ],
        }
        client(s3_environment).put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
        denied = run("annotate", f"s3://{bucket}/in/", "--out", out, *toy)
        check_refused(denied, None, "was refused (AccessDenied)")


def test_a_wrong_endpoint(s3_environment: S3Server, toy: list[str]) -> None:
    del s3_environment
    result = run(
        "annotate", "s3://fleet/x/", "--out", "s3://fleet/out/", "--endpoint-url", "http://127.0.0.1:9", *toy
    )
    check_refused(result, None, "cannot reach http://127.0.0.1:9", "--endpoint-url")


def test_a_report_of_nothing(tmp_path: Path) -> None:
    check_refused(run("report", tmp_path), None, str(tmp_path))


def test_an_evaluation_against_what_is_not_coco(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text("[1]")
    check_refused(
        run("evaluate", tmp_path, "--truth", tmp_path / "truth.json"), None, "not COCO ground truth"
    )


def test_mistakes_are_json_where_json_was_asked_for(tmp_path: Path, toy: list[str]) -> None:
    result = run("annotate", tmp_path / "nowhere", "--out", tmp_path / "out", *toy, "--json")
    assert result.exit_code == 2
    assert last_event(result.stdout)["event"] == "error"
    assert "nowhere" in last_event(result.stdout)["message"]


def test_a_dry_run_prints_the_plan_and_writes_nothing(photos: Path, tmp_path: Path, toy: list[str]) -> None:
    import yaml

    out = tmp_path / "out"
    result = run("annotate", photos, "--out", out, *toy, "--dry-run")
    assert result.exit_code == 0, result.output
    printed = yaml.safe_load(result.stdout)
    assert printed["plan"]["inputs"] == 1
    assert printed["spec"]["sink"]["uri"] == str(out)
    assert printed["model"]["labels"] == 3
    assert printed["resources"]["actors"] >= 1
    assert not out.exists()
    spec = tmp_path / "again.yaml"
    spec.write_text(yaml.safe_dump(printed["spec"]))
    again = yaml.safe_load(run("run", spec, "--dry-run").stdout)
    assert again["plan"]["job_id"] == printed["plan"]["job_id"]


def test_models_are_listed_with_size_and_licence() -> None:
    listing = run("models")
    assert listing.exit_code == 0
    for word in ("tiny", "320x320", "ssd300_vgg16", "BSD-3-Clause", "darknet53"):
        assert word in listing.stdout
    facts = json.loads(run("models", "--json").stdout)
    assert facts["tiny"]["weights"].startswith("package://")
    assert facts["maskrcnn_resnet50_fpn"]["weights"].startswith("torchvision://")


def test_a_step_of_training_views_that_there_is_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_refused(
        run("train", tmp_path, "--out", out, "--augment", "flip, color"),
        out,
        "no step 'color'. Did you mean 'colour'?",
        "flip, turn, jitter",
    )


@pytest.mark.parametrize(("text", "steps"), [("none", []), ("flip, mosaic", ["flip", "mosaic"])])
def test_steps_of_training_views_as_they_are_typed(text: str, steps: list[str]) -> None:
    assert augment_steps(text) == steps
