"""What the page's sections show, as plain values for the template: no markup, no pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cvcore.datasets.coco_shapes import BACKGROUND
from jobs.outcome import CLASSIFIED, MAPS
from jobs.report import text
from jobs.report.cards import display_name, without_location
from jobs.report.colors import ink_color, label_color
from jobs.report.rows import NO_FRAME, Kind
from jobs.report.run import Attempt, Run
from jobs.report.statistics import NO_SCORES, Histogram, Statistics
from jobs.storage import base_name
from jobs.visible import visible

BinName = Callable[[tuple[float, ...], int], str]


@dataclass(frozen=True, slots=True)
class Counter:
    """One large number at the top; `tone` is `plain`, or `bad` to warn."""

    name: str
    value: str
    note: str = ""
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin: `height` is its share of the fullest, 0 to 1."""

    name: str
    count: int
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A histogram as drawn; `ticks` are texts below the axis and where, 0 to 1 from the left."""

    key: str
    title: str
    note: str
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[str, float], ...]

    @property
    def most(self) -> int:
        """Count of the fullest bin."""
        return max((bar.count for bar in self.bars), default=0)


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label, as listed; `histogram` has the counts of its score bins."""

    name: str
    label_id: int
    color: str
    ink: str
    count: int
    images: int
    share: float
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One reason of failure; `key` names it to the gallery."""

    key: str
    status: str
    code: str
    count: str
    share: str
    examples: tuple[tuple[str, str, str], ...]


def reason_key(status: str, code: str) -> str:
    """How the page names a reason of failure."""
    return f"{status}/{code}"


def counters(run: Run, statistics: Statistics) -> list[Counter]:
    """The row of large numbers. Rates and times come from what the attempts recorded, if any."""
    done, failed = statistics.num_inputs, statistics.num_failed
    planned = run.record.num_inputs
    found = [
        Counter("Inputs", text.integer(done), f"of {text.integer(planned)}" if done != planned else ""),
        Counter("OK", text.integer(statistics.num_ok), text.percent(statistics.num_ok, done)),
        Counter("Failed", text.integer(failed), text.percent(failed, done), "bad" if failed else "plain"),
        _found_counter(run, statistics),
    ]
    found[1:1] = _video_counters(run, statistics)
    if run.images_per_s is not None:
        found.append(
            Counter(f"{run.noun.capitalize()}s/s", text.decimal(run.images_per_s), _attempts_note(run))
        )
    if run.wall_s is not None:
        found.append(Counter("Wall time", text.duration(run.wall_s), _attempts_note(run)))
    return found


def _video_counters(run: Run, statistics: Statistics) -> list[Counter]:
    """Of runs with videos: what the inputs are, and how many tracks are in them."""
    record, counts = run.record, (run.manifest or {}).get("counts") or {}
    if not record.num_videos:
        return []
    found = [
        Counter("Videos", text.integer(record.num_videos)),
        Counter("Frames", text.integer(statistics.num_frames)),
    ]
    if record.num_images:
        found.insert(0, Counter("Images", text.integer(record.num_images)))
    if "tracks" in counts:
        found.append(Counter("Tracks", text.integer(counts["tracks"])))
    return found


def _found_counter(run: Run, statistics: Statistics) -> Counter:
    number = statistics.num_detections
    if statistics.kind == "labels":
        return Counter("Classified", text.integer(number), text.percent(number, statistics.num_inputs))
    if statistics.kind == "classes":
        return Counter("Maps", text.integer(statistics.num_ok), _per_input(run, statistics, "classes "))
    return Counter(statistics.kind.capitalize(), text.integer(number), _per_input(run, statistics))


def _per_input(run: Run, statistics: Statistics, noun: str = "") -> str:
    if not statistics.num_ok:
        return ""
    article = "a" if run.noun == "frame" else "an"
    return f"{text.decimal(statistics.num_detections / statistics.num_ok)} {noun}{article} {run.noun}"


def _attempts_note(run: Run) -> str:
    return f"over {len(run.attempts)} attempts" if len(run.attempts) > 1 else ""


def warnings(run: Run, statistics: Statistics) -> list[str]:
    """What a reader must know before trusting the numbers."""
    if run.manifest is None:
        done, planned = text.integer(statistics.num_inputs), text.integer(run.record.num_inputs)
        return [
            f"Unfinished: {done} of {planned} inputs done. "
            "Unless the run still goes on, the same command continues it."
        ]
    counts = run.manifest.get("counts") or {}
    seen = {
        "inputs": statistics.num_inputs,
        "ok": statistics.num_ok,
        "failed": statistics.num_failed,
        **_found(statistics),
    }
    return [
        f"The manifest counts {counts[name]} {name}, the files hold {number}: results were altered."
        for name, number in seen.items()
        if name in counts and counts[name] != number
    ]


def _found(statistics: Statistics) -> dict[str, int]:
    """What was found, as a manifest counts it."""
    if statistics.kind == "classes":
        return {MAPS: statistics.num_ok}
    return {CLASSIFIED if statistics.kind == "labels" else statistics.kind: statistics.num_detections}


def model_title(run: Run) -> str:
    """A short name of the model: of a file, its name alone."""
    name = str(run.record.model.get("name") or run.record.job)
    return base_name(name).removesuffix(".cfg") or name


def facts(run: Run) -> list[tuple[str, str]]:
    """Name and value of what identifies the run."""
    record, digest = run.record, _weights_digest(run.record.model)
    rows = [
        ("Job", record.job_id),
        ("Source", record.source),
        ("Model", model_title(run) + (f" · sha256 {digest[:12]}" if digest else "")),
        ("Hardware", _hardware(run)),
        ("When", text.span(*run.span) if run.span else ""),
        ("Version", record.code_version),
    ]
    return [(name, value) for name, value in rows if value]


def _weights_digest(model: Mapping[str, Any]) -> str:
    digests = model.get("digests") or {}
    return str(model.get("sha256") or digests.get("weights") or "")


def _hardware(run: Run) -> str:
    """What the latest attempt ran on, and how."""
    if not run.attempts:
        return ""
    last = run.attempts[-1]
    parts = (
        last.hardware,
        last.actors and f"{last.actors} actor{'' if last.actors == '1' else 's'}",
        last.batch_size and f"batch {last.batch_size}",
        last.precision and f"precision {last.precision}",
    )
    return " · ".join(part for part in parts if part)


def label_rows(statistics: Statistics) -> list[LabelRow]:
    """Labels that were found, most frequent first."""
    found = sorted(statistics.labels.items(), key=lambda item: (-item[1].num_detections, item[0]))
    most = max((label.num_detections for _, label in found), default=1)
    rows = []
    for name, label in found:
        color = label_color(label.label_id)
        rows.append(
            LabelRow(
                name=name,
                label_id=label.label_id,
                color=color,
                ink=ink_color(color),
                count=label.num_detections,
                images=label.num_images,
                share=label.num_detections / most,
                histogram=label.scores.counts,
            )
        )
    return rows


def unlisted_rows(names: Mapping[str, int]) -> list[LabelRow]:
    """Labels that no row is counted under, but that pictures show; by name, with their ids."""
    colors = {name: label_color(label_id) for name, label_id in names.items()}
    return [
        LabelRow(name, label_id, colors[name], ink_color(colors[name]), 0, 0, 0.0, NO_SCORES.counts)
        for name, label_id in sorted(names.items())
    ]


def labels_not_found(run: Run, statistics: Statistics) -> list[str]:
    """Labels of the model that no detection has, in the model's order; a background is none of them."""
    labels = run.record.model.get("labels")
    if not isinstance(labels, list):
        return []
    known = {*statistics.labels, *([BACKGROUND] if statistics.kind == "classes" else [])}
    return [str(label) for label in labels if str(label) not in known]


def charts(statistics: Statistics, *, noun: str = "image") -> list[Chart]:
    """The histograms, scores first; `noun` says what a row is of. Detections alone have boxes."""
    titles: dict[Kind, str] = {"labels": "Probabilities", "classes": "Shares"}
    scores = Chart(
        "scores",
        titles.get(statistics.kind, "Scores"),
        scored_by(statistics, noun),
        bars(statistics.scores, text.score_bin),
        tuple((f"{i / 5:g}", i / 5) for i in range(6)),
    )
    images = statistics.image_sides_px
    sizes = Chart(
        "images",
        f"{noun.capitalize()} size",
        f"{noun}s by longer side, px" + _extent_note(statistics),
        bars(images, text.range_bin),
        _edge_ticks(images),
    )
    boxes = _box_charts(statistics, noun) if statistics.has_boxes else []
    return [scores, *boxes, sizes]


def scored_by(statistics: Statistics, noun: str) -> str:
    """What the first histogram counts."""
    if statistics.kind == "labels":
        return f"{noun}s by probability of the likeliest label"
    if statistics.kind == "classes":
        return f"classes of {noun}s by share of the pixels"
    return f"{statistics.kind} by score"


def _box_charts(statistics: Statistics, noun: str) -> list[Chart]:
    counts, boxes = _trim(statistics.detections_per_image, at_least=6), statistics.box_sides_px
    return [
        Chart(
            "counts",
            f"{statistics.kind.capitalize()} per {noun}",
            f"{noun}s by number of {statistics.kind}",
            bars(counts, text.whole_bin),
            _bin_ticks(counts),
        ),
        Chart(
            "boxes",
            "Box size",
            f"{statistics.kind} by square root of area, px",
            bars(boxes, text.range_bin),
            _edge_ticks(boxes),
        ),
    ]


def _edge_ticks(histogram: Histogram) -> tuple[tuple[str, float], ...]:
    """The edges between bins; the lowest means nothing."""
    edges = histogram.edges
    return tuple((text.short_length(edge), i / len(edges)) for i, edge in enumerate(edges) if i)


def _bin_ticks(histogram: Histogram) -> tuple[tuple[str, float], ...]:
    """Short names of bins, below their middles."""
    edges = histogram.edges
    return tuple((text.short_bin(edges, i), (i + 0.5) / len(edges)) for i in range(len(edges)))


def _extent_note(statistics: Statistics) -> str:
    extent = statistics.extent
    if extent is None:
        return ""
    return f" · {_range(extent.min_width, extent.max_width)} × {_range(extent.min_height, extent.max_height)}"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


def _trim(histogram: Histogram, *, at_least: int) -> Histogram:
    """Leave out empty bins at the end."""
    used = max((i + 1 for i, count in enumerate(histogram.counts) if count), default=0)
    keep = max(at_least, used)
    if keep >= len(histogram.counts):
        return histogram
    # One empty bin stays, so that the last filled one does not read as open-ended.
    return Histogram(histogram.edges[: keep + 1], histogram.counts[: keep + 1])


def bars(histogram: Histogram, name: BinName) -> tuple[Bar, ...]:
    """A histogram's bins, as high as their share of the fullest."""
    most = max(histogram.counts, default=0) or 1
    return tuple(
        Bar(name(histogram.edges, i), count, count / most) for i, count in enumerate(histogram.counts)
    )


def failure_rows(statistics: Statistics) -> list[FailureRow]:
    """Reasons of failure, most frequent first."""
    found = sorted(statistics.failures.items(), key=lambda item: (-item[1].count, item[0]))
    return [
        FailureRow(
            key=reason_key(status, code),
            status=status,
            code=code or "unknown",
            count=text.integer(failures.count),
            share=text.percent(failures.count, statistics.num_inputs),
            examples=tuple(
                (
                    visible(example.uri),
                    _with_frame(example.uri, example.frame_index),
                    visible(without_location(example.message, example.uri)[:300]),
                )
                for example in failures.examples
            ),
        )
        for (status, code), failures in found
    ]


def _with_frame(uri: str, frame: int) -> str:
    name = display_name(uri)
    return name if frame == NO_FRAME else f"{name} #{frame}"


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """An attempt as listed; what it did not record is a dash."""
    return {
        "outcome": attempt.outcome,
        "started": text.moment(attempt.started) if attempt.started else "–",
        "wall": "–" if attempt.wall_s is None else text.duration(attempt.wall_s),
        "startup": "–" if attempt.startup_s is None else text.duration(attempt.startup_s),
        "rate": "–" if attempt.images_per_s is None else text.decimal(attempt.images_per_s),
        "inputs": text.integer(attempt.inputs_done),
        "hardware": attempt.hardware or "–",
        "actors": attempt.actors or "–",
        "batch_size": attempt.batch_size or "–",
        "precision": attempt.precision or "–",
    }
