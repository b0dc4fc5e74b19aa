"""The ledger: each version of each object once, and reading that stays quick."""

from __future__ import annotations

from pathlib import Path

from jobs import ledger as module
from jobs.ledger import Ledger
from jobs.pinned import PinnedSegment, pin_inputs, pin_segments
from jobs.storage import ObjectInfo, open_store

STORE = open_store("/")


def objects(*names: str, etag: str = "1") -> list[ObjectInfo]:
    return [ObjectInfo(f"/in/{name}", etag, 10) for name in names]


def unseen(root: Path, infos: list[ObjectInfo]) -> list[str]:
    return [f"{info.uri}@{info.etag}" for info in Ledger(str(root), STORE).unseen(infos)]


def test_a_version_is_seen_when_its_scan_has_succeeded(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), STORE)
    assert ledger.last == 0
    assert len(list(ledger.unseen(objects("a", "b")))) == 2
    ledger.advance(1, pin_inputs(objects("a", "b")), writer="w")
    assert Ledger(str(tmp_path), STORE).last == 1
    assert unseen(tmp_path, objects("a", "b", "c")) == ["/in/c@1"]
    assert unseen(tmp_path, objects("a", etag="2")) == ["/in/a@2"]


def test_advancing_twice_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        Ledger(str(tmp_path), STORE).advance(1, pin_inputs(objects("a")), writer="w")
    (file,) = (tmp_path / "_veedor/ledger").iterdir()
    before = file.stat().st_mtime_ns
    Ledger(str(tmp_path), STORE).advance(1, pin_inputs(objects("z")), writer="other")
    assert file.stat().st_mtime_ns == before
    assert len(Ledger(str(tmp_path), STORE)) == 1


def test_videos_are_objects_too_and_failed_ones(tmp_path: Path) -> None:
    (video,) = objects("v.mp4")
    segments = [
        PinnedSegment(video, 0, "1/10", [0, 1], [0, 1]),
        PinnedSegment(video, 0, "1/10", [2], [2]),
        PinnedSegment(objects("w.mp4")[0], error_code="corrupt", error="no frames"),
    ]
    Ledger(str(tmp_path), STORE).advance(1, pin_segments(pin_inputs(objects("a.png")), segments), writer="w")
    assert len(Ledger(str(tmp_path), STORE)) == 3
    assert unseen(tmp_path, objects("v.mp4", "w.mp4", "x.mp4")) == ["/in/x.mp4@1"]


def test_many_scans_are_read_from_one_merged_file(tmp_path: Path) -> None:
    count = module.MERGE_EVERY + 2
    ledger = Ledger(str(tmp_path), STORE)
    for number in range(1, count + 1):
        ledger.advance(number, pin_inputs(objects(f"{number}")), writer="w")
    folder = tmp_path / "_veedor/ledger"
    for number in range(1, module.MERGE_EVERY + 1):  # what is merged is not read again
        (folder / f"scan-{number:06d}.parquet").write_bytes(b"unreadable")
    again = Ledger(str(tmp_path), STORE)
    assert (again.last, len(again)) == (count, count)
    assert unseen(tmp_path, objects("1", f"{count}", "new")) == ["/in/new@1"]


def test_keys_are_looked_up_in_the_order_of_the_listing(tmp_path: Path) -> None:
    names = [f"{index:05d}" for index in range(20_000)]
    Ledger(str(tmp_path), STORE).advance(1, pin_inputs(objects(*names[::2])), writer="w")
    found = unseen(tmp_path, objects(*names))
    assert found == [f"/in/{name}@1" for name in names[1::2]]
