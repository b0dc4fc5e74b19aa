"""The commands that exchange a run with other tools: `export` and `import`."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.exits import usage_errors
from cluster.options import Endpoint, Json, Profile, Region

if TYPE_CHECKING:
    from jobs.export.outcome import Exported
    from jobs.storage import Access

Label = Annotated[list[str] | None, typer.Option("--label", help="Of this label alone; may repeat.")]
MinScore = Annotated[float, typer.Option(min=0, max=1, help="With at least this score.")]


def export_run(
    run: Annotated[str, typer.Argument(help="The --out of an annotate or track job.")],
    out: Annotated[str, typer.Option(help="Folder or s3://bucket/prefix/, new or empty.")],
    to: Annotated[
        str,
        typer.Option(
            "--format",
            help="coco, yolo, voc, cvat, label-studio, mot, fiftyone or csv; of a segmenter's run "
            "coco-panoptic.",
        ),
    ] = "mot",
    label: Label = None,
    min_score: MinScore = 0.0,
    masks: Annotated[
        str, typer.Option(help="Of coco: rle, or polygons, which annotation tools can edit.")
    ] = "rle",
    order: Annotated[
        str | None,
        typer.Option(
            help="A review queue: uncertain (the most doubtful detections first), rare (the rarest "
            "labels), disagreement (with another run) or random."
        ),
    ] = None,
    other: Annotated[
        str | None, typer.Option("--with", help="Of --order disagreement: a run over the same images.")
    ] = None,
    dedup: Annotated[
        float | None,
        typer.Option(help="Of a queue: leave out what is like an earlier image, from this cosine on."),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(help="Of --dedup: a run of veedor embed over the same images, where RUN has none."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="So many images at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also of a run that is not finished, which the export says.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")] = False,
    corrections: Annotated[
        str,
        typer.Option(
            help="What people said of the run: ignore it, apply it; take only images of which they decided "
            "everything, or the undecided ones."
        ),
    ] = "ignore",
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Write a run in another tool's format, as a whole or not at all.

    Images that failed stand in failures.csv; where all of it is from, in veedor.json.
    """
    from jobs.export.export import export_run
    from jobs.export.options import Options
    from jobs.export.rows import Choice
    from jobs.storage import Access

    choice = Choice(tuple(label or ()), min_score)
    options = Options(
        choice, order, limit, seed, partial, overwrite, corrections, other, dedup, embeddings, masks
    )
    with usage_errors(as_json=as_json):
        access = Access(profile, endpoint_url, region)
        _print_exported(export_run(run, to=to, out=out, access=access, options=options), as_json=as_json)


def _print_exported(done: Exported, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    if done.format == "coco-panoptic":
        kinds = [f"{done.detections:,} segments in {done.looked_at:,} images"]
    else:
        kinds = [f"{done.detections:,} detections in {done.looked_at:,} images, {done.empty:,} of them empty"]
    if done.failed:
        kinds.append(f"{done.failed:,} failed")
    if done.left_out:
        kinds.append(f"{done.left_out:,} left out by --corrections")
    if done.not_looked_at:
        kinds.append(f"{done.not_looked_at:,} not looked at")
    typer.echo(f"{'; '.join(kinds)}: {done.uri}")
    if done.losses:
        lost = ", ".join(f"{name} ({count:,})" for name, count in done.losses.items())
        typer.echo(f"{done.format} cannot hold: {lost}")


def import_run(
    source: Annotated[str, typer.Argument(help="A file, or a folder of files.")],
    of: Annotated[
        str,
        typer.Option("--format", help="coco, yolo, voc, cvat, label-studio, mot, fiftyone or csv."),
    ] = "mot",
    into: Annotated[
        str | None, typer.Option(help="The run that is corrected; its own rows stay as they are.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Of MOT text: folder or s3://bucket/prefix/ for a new run.")
    ] = None,
    as_dataset: Annotated[
        str | None, typer.Option(help="Folder or s3://bucket/prefix/ for a new COCO dataset to train on.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Of the dataset: where its images are.")] = None,
    who: Annotated[str | None, typer.Option(help="Who corrects; default who is logged in.")] = None,
    tool: Annotated[str | None, typer.Option(help="What was used; default the format's.")] = None,
    label: Label = None,
    min_score: MinScore = 0.0,
    fps: Annotated[float | None, typer.Option(help="Of a new run, frames a second; else no times.")] = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Take back what people or other tools made of a run, or make a dataset or a new run of it.

    Corrections are kept beside the run: `veedor query` has them as the views corrections and reviewed. If
    the export was made with --label or --min-score, give them again: what was not shown is not rejected.
    """
    from cvcore.errors import SpecError
    from jobs.storage import Access

    with usage_errors(as_json=as_json):
        access = Access(profile, endpoint_url, region)
        if sum(each is not None for each in (into, out, as_dataset)) != 1:
            raise SpecError(
                "name one of --into RUN, which is corrected, --as-dataset FOLDER, and --out, for a new run "
                "of MOT"
            )
        if out is not None:
            _make_run(source, of, out, fps, access)
        elif as_dataset is not None:
            _make_dataset(source, of, as_dataset, images, access, as_json=as_json)
        elif into is not None:
            from jobs.export.rows import Choice
            from jobs.imports.corrections import import_corrections

            shown = Choice(tuple(label or ()), min_score)
            name = who or getpass.getuser()
            done = import_corrections(source, into, of=of, who=name, tool=tool, access=access, shown=shown)
            if as_json:
                typer.echo(json.dumps(asdict(done)))
                return
            said = ", ".join(f"{count:,} {action}" for action, count in sorted(done.actions.items()))
            typer.echo(f"{done.num_images:,} images: {said}: {done.uri}")


def _make_dataset(
    source: str, of: str, out: str, images: str | None, access: Access, *, as_json: bool
) -> None:
    from cluster.dataset_listing import print_converted
    from cvcore.errors import SpecError
    from jobs.imports.dataset import import_dataset

    if images is None:
        raise SpecError("where the images of the dataset are is not said: name their folder with --images")
    print_converted(import_dataset(source, out, of=of, images=images, access=access), as_json=as_json)


def _make_run(source: str, of: str, out: str, fps: float | None, access: Access) -> None:
    from cvcore.errors import SpecError
    from jobs.imports.corrections import check_format
    from jobs.mot import import_mot

    check_format(of)
    if of != "mot":
        raise SpecError(f"a new run is made of MOT text, not of {of}: name a run to correct with --into")
    made = import_mot(source, out=out, fps=fps, access=access)
    typer.echo(
        f"{made.num_sequences:,} sequences, {made.num_frames:,} frames, {made.num_detections:,} detections: "
        f"{made.uri}"
    )
