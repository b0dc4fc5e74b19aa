"""What a reviewer decides: shown at once, saved as imports, and never in another's way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvcore.errors import SpecError
from jobs.imports.corrections import import_corrections
from jobs.storage import Access
from jobs.view.filters import Filter
from jobs.view.session import ViewSession, open_view
from tests.conftest import point_at
from tests.exchange import make_rows, write_run
from tests.jobs.export.test_corrected import ask, export
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path, make_rows(tmp_path, write_images=True))


def opened(run: Path | str, who: str = "ann") -> ViewSession:
    return open_view(str(run), who=who, access=Access())


def say(number: int | None, verdict: str, label: str | None = None) -> dict[str, Any]:
    return {"number": number, "verdict": verdict, "label": label}


def acts(card: dict[str, Any]) -> list[str | None]:
    return [each["said"] and each["said"]["action"] for each in card["objects"]]


def test_decisions_are_shown_at_once_and_saved_together(run: Path) -> None:
    session = opened(run)
    card = session.decide(0, [say(0, "accept"), say(2, "reject")])["card"]
    assert acts(card) == ["accept", None, "reject"]
    assert not card["decided"]
    card = session.decide(0, [say(1, "relabel", "van")])["card"]
    assert card["decided"]
    assert session.decide(1, [say(None, "accept")])["review"] == {"decided": 2, "unsaved": 2}
    assert not (run / "corrections").exists()
    assert session.save()["review"] == {"decided": 2, "unsaved": 0}
    assert session.save()["saved"] is None
    assert [path.name for path in (run / "corrections").iterdir()] == ["000001.parquet"]
    assert ask(run, "select number, action, label, who, tool from corrections order by uri, number") == [
        (0, "accept", card["objects"][0]["label"], "ann", "veedor view"),
        (1, "relabel", "van", "ann", "veedor view"),
        (2, "reject", None, "ann", "veedor view"),
        (None, "empty", None, "ann", "veedor view"),
    ]
    assert ask(run, "select count(*) from decided") == [(2,)]
    assert ask(run, "select count(*) from reviewed") == [(14,)], "one of 15 was rejected"
    out = export(run, "coco", "out", corrections="only")
    assert len(list(out.iterdir())) == 4


def test_a_new_session_goes_on_where_the_last_one_ended(run: Path) -> None:
    first = opened(run)
    first.decide(0, [say(0, "reject")])
    first.save()
    second = opened(run, "bob")
    assert acts(second.image(0)) == ["reject", None, None]
    second.decide(0, [say(1, "accept")])
    second.save()
    assert ask(run, "select number, action, who from corrections order by number") == [
        (0, "reject", "ann"),
        (1, "accept", "bob"),
    ]
    second.decide(0, [say(0, "clear"), say(1, "clear")])
    second.save()
    assert ask(run, "select action, number from corrections") == [("withdraw", None)]
    assert ask(run, "select count(*) from reviewed") == [(15,)]
    assert opened(run).review_state()["decided"] == 0


def test_what_others_import_meanwhile_is_kept(run: Path) -> None:
    session, other = opened(run), opened(run, "bob")
    session.decide(0, [say(0, "reject")])
    other.decide(0, [say(2, "relabel", "bus")])
    other.decide(3, [say(0, "accept")])
    other.save()
    card = session.decide(0, [say(1, "accept")])["card"]
    assert acts(card) == ["reject", "accept", None], "it does not know yet"
    session.save()
    assert acts(session.image(0)) == ["reject", "accept", "relabel"]
    assert ask(run, "select number, action, who from corrections order by uri, number") == [
        (0, "reject", "ann"),
        (1, "accept", "ann"),
        (2, "relabel", "bob"),
        (0, "accept", "bob"),
    ]


def test_two_that_save_at_once_lose_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jobs.imports.files as files

    session, other = opened(run), opened(run, "bob")
    session.decide(0, [say(0, "reject")])
    other.decide(0, [say(1, "accept")])
    write, saved = files.pq.write_table, []

    def slowly(*arguments: Any, **options: Any) -> None:
        if not saved:
            saved.append(True)
            other.save()
        write(*arguments, **options)

    monkeypatch.setattr(files.pq, "write_table", slowly)
    session.save()
    assert ask(run, "select number, action, who from corrections order by number") == [
        (0, "reject", "ann"),
        (1, "accept", "bob"),
    ]


def test_boxes_that_a_tool_moved_or_added_are_shown(run: Path) -> None:
    document = export(run, "coco", "given") / "annotations.json"

    content = json.loads(document.read_text())
    content["annotations"][0]["bbox"] = [1, 2, 3, 4]
    added = {"id": 99, "image_id": content["images"][0]["id"], "category_id": 1, "bbox": [5, 5, 9, 9]}
    content["annotations"].append(added)
    document.write_text(json.dumps(content))
    import_corrections(str(document), str(run), of="coco", who="tom", access=Access())
    session = opened(run)
    card = session.image(0)
    assert card["objects"][0]["said"] == {"action": "move", "label": card["objects"][0]["label"]} | {
        "box": [1.0, 2.0, 4.0, 6.0],
        "who": "tom",
    }
    assert card["added"] == [{"label": "car", "box": [5.0, 5.0, 14.0, 14.0], "who": "tom"}]
    assert session.review_state()["decided"] == 6


def test_a_selection_stays_while_it_is_decided(run: Path) -> None:
    session = opened(run)
    undecided = Filter(state="undecided")
    before = [card["n"] for card in session.page(undecided, 0, fresh=True)["cards"]]
    assert before == [0, 1, 3, 4, 5, 6], "what failed is not undecided"
    session.decide(1, [say(None, "accept")])
    assert [card["n"] for card in session.page(undecided, 0, fresh=False)["cards"]] == before
    assert [card["n"] for card in session.page(undecided, 0, fresh=True)["cards"]] == [0, 3, 4, 5, 6]
    assert [card["n"] for card in session.page(Filter(state="decided"), 0, fresh=True)["cards"]] == [1]


@pytest.mark.parametrize(
    ("ordinal", "decisions", "words"),
    [
        pytest.param(99, [say(0, "accept")], "no image 99", id="no image"),
        pytest.param(2, [say(None, "accept")], "was not looked at", id="failed"),
        pytest.param(0, [say(0, "accept"), say(7, "accept")], "no detection 7", id="no detection"),
        pytest.param(0, [say("0", "accept")], "known by its number", id="a text"),  # type: ignore[arg-type]
        pytest.param(0, [{"number": 0}], "no verdict ''", id="nothing said"),
        pytest.param(0, [say(0, "relabel", 5)], "a label is a text", id="no text"),  # type: ignore[arg-type]
    ],
)
def test_what_is_refused_counts_for_nothing(
    run: Path, ordinal: int, decisions: list[dict[str, Any]], words: str
) -> None:
    session = opened(run)
    with pytest.raises(SpecError, match=words):
        session.decide(ordinal, decisions)
    assert session.review_state() == {"decided": 0, "unsaved": 0}
    assert session.save()["saved"] is None


def test_a_run_in_a_bucket(tmp_path: Path, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(moto_s3, monkeypatch)
    bucket = new_bucket(moto_s3)
    here, there = str(tmp_path / "images"), f"s3://{bucket}/images"
    rows = make_rows(tmp_path, write_images=True, masks=True)
    bodies = {row["uri"].replace(here, "images"): Path(row["uri"]).read_bytes() for row in rows}
    upload(moto_s3, bucket, bodies)
    from jobs.storage import open_store

    infos = {info.uri: info.etag for info in open_store(there).walk(f"{there}/")}
    for row in rows:
        row["uri"] = row["uri"].replace(here, there)
        row["etag"] = infos[row["uri"]]
    run = write_run(tmp_path, rows, masks=True)
    record = run / "_veedor" / "job.json"
    record.write_text(record.read_text().replace(here, there))
    upload(
        moto_s3, bucket, {f"run/{p.relative_to(run)}": p.read_bytes() for p in run.rglob("*") if p.is_file()}
    )
    session = opened(f"s3://{bucket}/run")
    assert session.pictures.small(0).startswith(b"\xff\xd8")
    card = session.image(0)
    assert [len(each["mask"]) for each in card["objects"]] == [5, 5, 5]
    session.decide(0, [say(0, "reject")])
    assert session.save()["saved"] == f"s3://{bucket}/run/corrections/000001.parquet"
    assert acts(opened(f"s3://{bucket}/run").image(0)) == ["reject", None, None]
