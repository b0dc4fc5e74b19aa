"""Denoising, codes, samples and maps, as they are typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.exits import EXIT_USAGE
from cvcore.autoencode.base import Autoencoder
from cvcore.autoencode.variational import VariationalAutoencoder
from cvcore.checkpoint import save_checkpoint
from cvcore.image.decode import decode_to_canvas
from cvcore.models import ModelSource, build_model
from tests.browsers import open_browser, quiet_page
from tests.corpus import toy_model
from tests.plates import write_model, write_plates
from tests.runs import read_local_rows

pytestmark = pytest.mark.usefixtures("ray_cluster")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:  # noqa: ARG001
    """A calibrated model and a dozen plates, one of which is broken."""
    folder = tmp_path_factory.mktemp("images")
    write_model(folder / "model")
    write_plates(folder / "normal", 30, seed=500)
    write_plates(folder / "in" / "a", 12)
    (folder / "in" / "bad.png").write_bytes(b"no image")
    result = run("calibrate", folder / "model", "--normal", folder / "normal", "--actors", "1")
    assert result.exit_code == 0, result.output
    return folder


def network(place: Path) -> Autoencoder:
    model = build_model(ModelSource("", weights=(place / "model" / "model.safetensors").read_bytes()))
    assert isinstance(model, Autoencoder)
    return model


def test_codes_are_small_and_come_back_as_pictures_of_the_inputs_sizes(place: Path, tmp_path: Path) -> None:
    model, out = place / "model", tmp_path / "codes"
    command = ["compress", place / "in", "--model", model, "--step", "0.1", "--out", out, "--actors", "1"]
    assert "plan:" in run(*command, "--dry-run").output
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "bytes an image" in result.output
    rows = {row["uri"]: row for row in read_local_rows(out).to_pylist()}
    assert len(rows) == 13
    assert all(len(row["code"]) < 40 for row in rows.values() if row["status"] == "ok")
    back = run("decompress", out, "--out", tmp_path / "back")
    assert back.exit_code == 0, back.output
    assert "12 pictures" in back.output
    assert "1 inputs have no code" in back.output
    net = network(place)
    for uri, row in rows.items():
        if row["status"] != "ok":
            continue
        with Image.open(tmp_path / "back" / "a" / Path(uri).name) as image:
            assert image.size == (40, 36)
            small = np.asarray(image.resize((32, 32)).convert("L")) / 255
        canvas = torch.from_numpy(decode_to_canvas(Path(uri).read_bytes(), net.input_spec).canvas)[None]
        with torch.inference_mode():
            expected = net(net.preprocess(canvas))[0, 0].numpy()
        assert np.abs(small - expected).mean() < 0.05
    assert "codes alone" in " ".join(run("report", out).output.split())


def test_codes_are_read_with_the_model_and_calibration_that_made_them(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes"
    run("compress", place / "in", "--model", place / "model", "--out", out, "--actors", "1")
    other = write_model(tmp_path / "other", seed=3)
    run("calibrate", other, "--normal", place / "normal", "--actors", "1")
    refused = run("decompress", out, "--out", tmp_path / "back", "--model", f"{other}/")
    assert refused.exit_code == EXIT_USAGE
    assert "are not those that" in " ".join(refused.output.split())
    assert not (tmp_path / "back").exists()


def test_denoising_measures_what_it_takes_away(place: Path, tmp_path: Path) -> None:
    out, pictures = tmp_path / "run", tmp_path / "pictures"
    result = run(
        "denoise", place / "in", "--model", place / "model", "--noise", "0.2", "--out", out,
        "--images", pictures, "--actors", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "PSNR" in result.output
    assert len(list(pictures.rglob("*.png"))) == 12
    rows = [row for row in read_local_rows(out).to_pylist() if row["status"] == "ok"]
    # Noise of this deviation alone, on pictures that are far from black and white.
    assert np.mean([row["psnr_before"] for row in rows]) == pytest.approx(-20 * np.log10(0.2), abs=1.5)
    plain = run(
        "denoise", place / "in", "--model", place / "model", "--out", tmp_path / "plain", "--actors", "1"
    )
    assert "PSNR" not in plain.output
    net = network(place)
    row = next(row for row in read_local_rows(tmp_path / "plain").to_pylist() if row["status"] == "ok")
    assert row["psnr_before"] is None
    canvas = torch.from_numpy(decode_to_canvas(Path(row["uri"]).read_bytes(), net.input_spec).canvas)[None]
    with torch.inference_mode():
        expected = net(net.preprocess(canvas))[0, 0].numpy()
    (tmp_path / "one.png").write_bytes(row["image"])
    with Image.open(tmp_path / "one.png") as image:
        assert np.abs(np.asarray(image) / 255 - expected).max() < 0.01


def test_a_vae_makes_the_same_pictures_for_the_same_seed(place: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = {"input_size": 32, "width": 4, "depth": 2, "latent_size": 4}
    body = save_checkpoint(
        VariationalAutoencoder(**config).state_dict(), model="vae", config=config, labels=(), training={}
    )
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "model.safetensors").write_bytes(body)
    bodies = []
    for seed in ("1", "1", "2"):
        result = run("generate", tmp_path / "vae", "--out", tmp_path / "out", "--num", "3", "--seed", seed)
        assert result.exit_code == 0, result.output
        bodies.append([path.read_bytes() for path in sorted((tmp_path / "out").iterdir())])
    assert bodies[0] == bodies[1] != bodies[2]
    assert len(set(bodies[0])) == 3
    refused = run("generate", place / "model", "--out", tmp_path / "none")
    assert refused.exit_code == EXIT_USAGE
    assert "train a vae" in refused.output


def test_a_map_shows_every_input_in_its_place(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    assert (
        run("embed", place / "in", "--model", place / "model", "--out", out, "--actors", "1").exit_code == 0
    )
    result = run("reduce", out)
    assert result.exit_code == 0, result.output
    assert "12 of 12 inputs" in result.output
    with open_browser() as browser, quiet_page(browser, out / "map.html") as shown:
        assert shown.locator("svg.map image").count() == 12
        boxes = [shown.locator(".thumb").nth(index).bounding_box() for index in range(12)]
        frame = shown.locator("svg.map").bounding_box()
        assert frame is not None
        for box in boxes:
            assert box is not None
            assert frame["x"] - 1 <= box["x"] <= frame["x"] + frame["width"] - box["width"] + 1
    assert "Did you mean 'pca'" in run("reduce", out, "--method", "pcaa").output


def test_models_that_cannot_are_refused(place: Path, tmp_path: Path) -> None:
    bare = write_model(tmp_path / "bare")
    cases = {
        "there is no calibration": ["compress", place / "in", "--model", bare, "--out", tmp_path / "out"],
        "no run of veedor compress": ["decompress", place / "in", "--out", tmp_path / "out"],
        "is no run": ["reduce", place / "in"],
        "noise": ["denoise", place / "in", "--model", bare, "--out", tmp_path / "out", "--noise", "-1"],
    }
    for words, command in cases.items():
        result = run(*command)
        assert result.exit_code == EXIT_USAGE, (words, result.output)
        assert words in " ".join(result.output.split())
    toy = toy_model(tmp_path / "toy")
    refused = run("embed", place / "in", "--model", toy["name"], "--out", tmp_path / "out")
    assert refused.exit_code == EXIT_USAGE
