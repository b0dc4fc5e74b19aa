"""What `veedor dataset` prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from jobs.visible import visible

if TYPE_CHECKING:
    from cvcore.datasets.problems import Problems
    from cvcore.datasets.stats import DatasetStats, Spread
    from jobs.dataset_check import Checked
    from jobs.dataset_convert import Converted
    from jobs.datasets import DatasetSource
    from jobs.mask_check import CheckedMasks


def print_check(source: DatasetSource, found: Checked, *, as_json: bool) -> None:
    """What a dataset has, and its problems."""
    if as_json:
        content = {
            "location": source.location,
            "format": source.format,
            "splits": {name: asdict(count) for name, count in found.splits.items()},
            "labels": list(found.labels),
            "problems": problem_facts(found.problems),
            "ok": not found.problems.serious,
        }
        typer.echo(json.dumps(content))
        return
    lines = [f"{visible(source.location)}: {source.format}, {len(found.labels):,} classes"]
    lines += [
        f"  {name or 'all':<8} {count.num_images:>9,} images  {count.num_boxes:>10,} boxes"
        for name, count in found.splits.items()
    ]
    lines += problem_lines(found.problems)
    if not found.problems.serious:
        lines.append("Nothing is wrong.")
    typer.echo("\n".join(lines))


def print_mask_check(location: str, found: CheckedMasks, *, as_json: bool) -> None:
    """What a dataset of masks has, and its problems."""
    if as_json:
        content = {
            "location": location,
            "splits": dict(found.splits),
            "labels": list(found.labels),
            "problems": problem_facts(found.problems),
            "ok": not found.problems.serious,
        }
        typer.echo(json.dumps(content))
        return
    lines = [f"{visible(location)}: masks, {len(found.labels):,} classes"]
    lines += [f"  {name or 'all':<8} {count:>9,} images" for name, count in found.splits.items()]
    lines += problem_lines(found.problems)
    if not found.problems.serious:
        lines.append("Nothing is wrong.")
    typer.echo("\n".join(lines))


def problem_facts(problems: Problems) -> list[dict[str, Any]]:
    """Problems for machines."""
    return [
        {**asdict(each), "text": each.text, "done": each.done, "harmless": each.harmless}
        for each in problems.found
    ]


def problem_lines(problems: Problems) -> list[str]:
    """Problems for people: a line each, and its examples."""
    lines = []
    for each in problems.found:
        mark = "note:   " if each.harmless else "problem:"
        lines.append(f"{mark} {each.count:,} {each.text}: {each.done}  ({each.kind})")
        lines += [f"           {visible(example)}" for example in each.examples]
        if each.count > len(each.examples):
            lines.append("           ...")
    return lines


def print_stats(found: DatasetStats, *, as_json: bool) -> None:
    """Figures of a dataset."""
    if as_json:
        typer.echo(json.dumps(_finite(asdict(found))))
        return
    lines = [
        f"{found.num_images:,} images, {found.num_boxes:,} boxes; {found.num_without_boxes:,} images without"
    ]
    width = max([len(visible(each.label)) for each in found.classes] + [5])
    lines.append(f"{'class':<{width}} {'images':>9} {'boxes':>10}")
    lines += [
        f"{visible(each.label):<{width}} {each.num_images:>9,} {each.num_boxes:>10,}"
        for each in found.classes
    ]
    if found.num_boxes:
        sizes = ", ".join(f"{count:,} {name}" for name, count in found.sizes.items())
        flags = ", ".join(f"{count:,} {name}" for name, count in found.flags.items() if count)
        lines += [
            f"Boxes an image: {_spread_text(found.boxes_per_image)}",
            f"Box sizes:      {sizes} (COCO: below 32², below 96², above)" + (f"; {flags}" if flags else ""),
            f"Width / height: {_spread_text(found.aspect_ratios)}",
        ]
    if found.num_images:
        common = ", ".join(f"{w}x{h} ({count:,})" for (w, h), count in found.common_sizes)
        lines += [
            f"Image widths:   {_spread_text(found.widths)}",
            f"Image heights:  {_spread_text(found.heights)}",
            f"Most common:    {common}",
        ]
    typer.echo("\n".join(lines))


def _spread_text(spread: Spread) -> str:
    return (
        f"{spread.min:.4g} to {spread.max:.4g}, median {spread.median:.4g}, mean {spread.mean:.4g}, "
        f"nine of ten from {spread.p5:.4g} to {spread.p95:.4g}"
    )


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def print_converted(done: Converted, *, as_json: bool) -> None:
    """What was written, and what was not."""
    if as_json:
        typer.echo(json.dumps({**asdict(done), "problems": problem_facts(done.problems)}))
        return
    what = "with masks" if done.num_boxes is None else f"{done.num_boxes:,} boxes"
    lines = [f"{done.num_images:,} images, {what}: {done.uri}"]
    if done.num_renamed:
        lines.append(f"{done.num_renamed:,} images have another name now, as theirs was taken or has folders")
    lines += [f"not held by the format: {count:,} {what}" for what, count in sorted(done.losses.items())]
    typer.echo("\n".join([*lines, *problem_lines(done.problems)]))
