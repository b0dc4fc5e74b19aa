"""From embeddings to answers: an index that grows, on a folder and in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvcore.errors import ModelError, SpecError
from cvcore.image.decode import decode_to_canvas
from cvcore.models import ModelSource, build_model
from cvcore.retrieve.embed import embed
from jobs.embed import EmbedSpec, run_embed
from jobs.index import add_to_index, open_index
from jobs.neighbors import evaluate_index, find_duplicates
from jobs.outcome import RunResult
from jobs.progress import SilentListener
from jobs.search import answer_page, search_image
from jobs.storage import Access
from tests.browsers import open_browser, quiet_page
from tests.corpus import toy_model
from tests.plates import plate, write_model, write_plates
from tests.runs import read_local_rows
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server

pytestmark = pytest.mark.usefixtures("ray_cluster")
ACCESS = Access()


def embed_all(trained: Path | str, source: Path, out: Path, **changes: Any) -> RunResult:
    content = {
        "source": {"uri": str(source)},
        "model": {"name": f"{trained}/"},
        "resources": {"actors": 1, "batch_size": 8},
        "sink": {"uri": str(out)},
    }
    return run_embed(EmbedSpec.model_validate({**content, **changes}), listener=SilentListener())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:  # noqa: ARG001
    """A model, 20 normal plates and 10 with holes embedded, and their index."""
    folder = tmp_path_factory.mktemp("search")
    write_model(folder / "model")
    write_plates(folder / "in" / "good", 20)
    write_plates(folder / "in" / "hole", 10, hole=True)
    (folder / "in" / "bad.png").write_bytes(b"no image")
    result = embed_all(folder / "model", folder / "in", folder / "run")
    assert result.manifest["counts"] | {"images": 0, "videos": 0} == {
        "inputs": 31,
        "ok": 30,
        "failed": 1,
        "images": 0,
        "videos": 0,
        "embeddings": 30,
    }
    assert add_to_index(str(folder / "run"), str(folder / "index"), access=ACCESS) == (30, True)
    return folder


def test_rows_hold_what_the_model_gives_each_image_alone(made: Path) -> None:
    network = build_model(ModelSource("", weights=(made / "model" / "model.safetensors").read_bytes()))
    for row in read_local_rows(made / "run").to_pylist():
        if row["status"] != "ok":
            assert row["embedding"] is None
            continue
        canvas = decode_to_canvas(Path(row["uri"]).read_bytes(), network.input_spec).canvas  # type: ignore[arg-type]
        expected = embed(network, torch.from_numpy(canvas)[None])[0].tolist()
        assert row["embedding"] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_an_image_finds_itself_first_and_the_rest_by_cosine(made: Path) -> None:
    query = made / "in" / "hole" / "003.png"
    answer = search_image(open_index(str(made / "index"), access=ACCESS), str(query), 30, access=ACCESS)
    assert answer.hits[0].uri == str(query)
    assert answer.hits[0].similarity == pytest.approx(1, abs=1e-3)
    rows = {row["uri"]: row["embedding"] for row in read_local_rows(made / "run").to_pylist()}
    own = np.array(rows[str(query)])
    for hit in answer.hits:
        other = np.array(rows[hit.uri])
        cosine = own @ other / np.linalg.norm(own) / np.linalg.norm(other)
        assert hit.similarity == pytest.approx(cosine, abs=1e-3)
    assert len(answer.hits) == 30
    assert [hit.similarity for hit in answer.hits] == sorted(
        (h.similarity for h in answer.hits), reverse=True
    )


def test_the_page_shows_the_pictures_and_runs_nothing(made: Path, tmp_path: Path) -> None:
    index = open_index(str(made / "index"), access=ACCESS)
    answer = search_image(index, str(made / "in" / "good" / "001.png"), 4, access=ACCESS)
    page = tmp_path / "strip.html"
    page.write_text(answer_page(answer, access=ACCESS))
    with open_browser() as browser, quiet_page(browser, page) as shown:
        assert shown.locator("img.found").count() == 5
        assert "good/001.png" in shown.inner_text("main")


def test_adding_a_run_leaves_what_is_there(made: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    add_to_index(str(made / "run"), str(index), access=ACCESS)
    before = {path: path.stat().st_mtime_ns for path in index.rglob("*") if path.is_file()}
    assert add_to_index(str(made / "run"), str(index), access=ACCESS) == (30, False)
    write_plates(tmp_path / "more", 5, seed=900)
    embed_all(made / "model", tmp_path / "more", tmp_path / "run")
    assert add_to_index(str(tmp_path / "run"), str(index), access=ACCESS) == (5, True)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    opened = open_index(str(index), access=ACCESS)
    assert len(opened) == 35
    answer = search_image(opened, str(tmp_path / "more" / "002.png"), 3, access=ACCESS)
    assert answer.hits[0].uri == str(tmp_path / "more" / "002.png")


def test_figures_by_folder_and_pairs_that_look_alike(made: Path) -> None:
    index = open_index(str(made / "index"), access=ACCESS)
    found = evaluate_index(index, 5)
    assert found.num_queries == 30
    assert 0 < found.precision <= 1
    assert found.mean_average_precision > 1 / 2  # of two kinds of unequal size, chance is lower
    pairs = find_duplicates(index, -1.0, neighbors=29)
    assert len(pairs) == 30 * 29 // 2
    assert pairs[0].similarity >= pairs[-1].similarity
    assert find_duplicates(index, 1.1) == []


def test_an_index_in_a_bucket(made: Path, s3_environment: S3Server) -> None:
    bucket = new_bucket(s3_environment)
    add_to_index(str(made / "run"), f"s3://{bucket}/index", access=ACCESS)
    upload(s3_environment, bucket, {"query.png": plate(3)})
    index = open_index(f"s3://{bucket}/index", access=ACCESS)
    answer = search_image(index, f"s3://{bucket}/query.png", 1, access=ACCESS)
    assert answer.hits[0].uri == str(made / "in" / "good" / "003.png")


def test_what_cannot_be_indexed_or_searched(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no finished run"):
        add_to_index(str(made / "in"), str(tmp_path / "index"), access=ACCESS)
    with pytest.raises(SpecError, match="is no index"):
        open_index(str(made / "in"), access=ACCESS)
    other = write_model(tmp_path / "other", seed=5)
    embed_all(other, made / "in" / "hole", tmp_path / "run")
    with pytest.raises(SpecError, match="of another model"):
        add_to_index(str(tmp_path / "run"), str(made / "index"), access=ACCESS)
    index = open_index(str(made / "index"), access=ACCESS)
    query = str(made / "in" / "good" / "001.png")
    with pytest.raises(SpecError, match="is not the model"):
        search_image(index, query, 1, access=ACCESS, model=f"{other}/")
    with pytest.raises(SpecError, match="cannot be used as a query"):
        search_image(index, str(made / "in" / "bad.png"), 1, access=ACCESS)
    with pytest.raises(SpecError, match="-k"):
        search_image(index, query, 0, access=ACCESS)
    with pytest.raises(ModelError, match="no embeddings"):
        embed_all("", made / "in", tmp_path / "none", model=toy_model(tmp_path / "toy"))
