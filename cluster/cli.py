"""The `veedor` command. Exit codes: 0 done, 1 failed, 2 bad spec or arguments, 3 too many inputs failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.anomaly_commands import calibrate, scan, threshold
from cluster.cluster_commands import down, up
from cluster.compare_command import compare
from cluster.dataset_commands import dataset_app
from cluster.doctor_command import doctor
from cluster.exchange_commands import export_run, import_run
from cluster.exits import usage_errors
from cluster.image_commands import compress, decompress, denoise, generate, reduce
from cluster.job_commands import annotate, run, track
from cluster.manifest_command import manifest
from cluster.options import Endpoint, Json, Profile, Region, SpeedSeconds
from cluster.plan_command import plan
from cluster.propose_command import propose
from cluster.query_command import query
from cluster.retrieval_commands import duplicates, embed, index, search
from cluster.schedule_commands import schedule_app
from cluster.schedule_metrics_command import metrics
from cluster.submit_commands import list_jobs, logs, status, stop, submit
from cluster.tick_command import tick
from cluster.train_command import train
from cluster.view_command import view

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Annotate large image and video datasets on Ray, track what moves in them, and scan what is new for "
    "anomalies: from a folder or bucket, through a model, into Parquet.",
)
JOBS, CLUSTERS, SCHEDULES, ANOMALIES, VECTORS, PICTURES, RESULTS, DATASETS, MODELS = (
    "Jobs",
    "Clusters",
    "Schedules",
    "Anomalies",
    "Search by example",
    "Pictures by autoencoders",
    "Results",
    "Datasets",
    "Models and samples",
)
COMMANDS: dict[str, tuple[Callable[..., Any], ...]] = {
    JOBS: (annotate, track, propose, run, plan),
    CLUSTERS: (up, submit, status, logs, stop, down, manifest, doctor),
    SCHEDULES: (tick,),
    ANOMALIES: (calibrate, scan, threshold),
    VECTORS: (embed, index, search, duplicates, reduce),
    PICTURES: (denoise, compress, decompress, generate),
    RESULTS: (view, query),
    MODELS: (train, compare),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command("list", rich_help_panel=CLUSTERS)(list_jobs)
app.command("export", rich_help_panel=RESULTS)(export_run)
app.command("import", rich_help_panel=RESULTS)(import_run)
schedule_app.command()(metrics)
app.add_typer(schedule_app, name="schedule", rich_help_panel=SCHEDULES)
app.add_typer(dataset_app, name="dataset", rich_help_panel=DATASETS)


@app.command(rich_help_panel=MODELS)
def models(as_json: Json = False) -> None:
    """List what --model can name: input size, parameters, and where the weights come from."""
    from cluster.listing import print_models

    print_models(as_json=as_json)


@app.command(rich_help_panel=RESULTS)
def report(
    run: Annotated[str, typer.Argument(help="The --out of a job, or of veedor train.")],
    out: Annotated[str | None, typer.Option(help="Where to write; default RUN/report.html.")] = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Make one self-contained HTML page of a run: counts, histograms, failures, pictures with boxes.

    Of a training run it shows the curves.
    """
    from jobs.report.build import write_report
    from jobs.storage import Access

    with usage_errors():
        where = write_report(run, out_uri=out, access=Access(profile, endpoint_url, region))
    typer.echo(f"Report: {where}")


@app.command(rich_help_panel=RESULTS)
def evaluate(
    run: Annotated[str, typer.Argument(help="The --out of a job, or of veedor index; with --data a model.")],
    truth: Annotated[
        str | None,
        typer.Option(
            help="Ground truth: COCO JSON of detections or proposals; MOT text (a file or folder) of "
            "tracks; of class maps, the folder of a dataset of masks; of scans, the dataset's folder, in the "
            "layout of MVTec AD; of an index none: folders "
            "are its labels."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A dataset: RUN is then a detector, classifier, localiser or segmenter, which is run on it "
            "here and measured."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Of --data, by default test; of class maps' --truth, by default all; all for everything."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Of the model, where RUN does not hold them.")] = None,
    labels: Annotated[str | None, typer.Option(help="Names of its classes, where it has none.")] = None,
    min_score: Annotated[
        float,
        typer.Option(min=0, max=1, help="Of a detector: what counts as found in confusions and errors."),
    ] = 0.25,
    speed_s: SpeedSeconds = 20.0,
    out: Annotated[
        str | None,
        typer.Option(
            help="Of a detector, a segmenter or a run with class maps: folder for report.html, with their "
            "errors, and evaluation.json."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Of an index: how many answers count.")] = 10,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Measure a run, or a model, against ground truth.

    COCO's metrics of detections, and of a detector Pascal VOC's, its errors and its speed too; accuracy,
    precision and recall of classes; mean IoU, Dice and boundary F1 of maps and segmenters; recall and MABO of
    proposals; HOTA, MOTA and IDF1 of tracks; AUROC, average precision and AUPRO of scans; precision, recall
    and mean average precision of an index.
    """
    from cluster.listing import (
        print_anomalies,
        print_evaluation,
        print_proposals,
        print_retrieval,
        print_tracking,
    )
    from jobs.evaluate_anomalies import evaluate_anomalies, is_scan_folder
    from jobs.evaluate_maps import holds_maps
    from jobs.evaluate_proposals import evaluate_proposal_run, is_propose_run
    from jobs.storage import Access

    access = Access(profile, endpoint_url, region)
    with usage_errors(as_json=as_json):
        if data is not None:
            from cluster.evaluating import evaluate_on_data
            from jobs.spec import ModelSection

            section = ModelSection(name=run, weights=weights, labels=labels)
            evaluate_on_data(
                section,
                data,
                split=split or "test",
                min_score=min_score,
                speed_s=speed_s,
                out=out,
                access=access,
                as_json=as_json,
            )
        elif truth is None:
            from jobs.index import open_index
            from jobs.neighbors import evaluate_index

            print_retrieval(evaluate_index(open_index(run, access=access), k), as_json=as_json)
        elif truth.lower().endswith(".json") and is_propose_run(run, access):
            print_proposals(evaluate_proposal_run(run, truth, access=access), as_json=as_json)
        elif truth.lower().endswith(".json"):
            from jobs.evaluate import evaluate_run

            print_evaluation(evaluate_run(run, truth, access=access), as_json=as_json)
        elif holds_maps(run, access):
            from cluster.evaluating import evaluate_map_run

            evaluate_map_run(run, truth, split=split, out=out, access=access, as_json=as_json)
        elif is_scan_folder(run, access):
            print_anomalies(evaluate_anomalies(run, truth, access=access), as_json=as_json)
        else:
            from jobs.evaluate_tracks import evaluate_tracks

            print_tracking(evaluate_tracks(run, truth, access=access), as_json=as_json)


@app.command(rich_help_panel=RESULTS)
def render(
    run: Annotated[str, typer.Argument(help="The --out of an annotate or track job.")],
    video: Annotated[str, typer.Option(help="Name of one of its videos, or the end of its location.")],
    out: Annotated[str, typer.Option(help="The .mp4 to write.")],
    trail_s: Annotated[float, typer.Option(help="Seconds of a track's way that are drawn.")] = 2.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Draw a run's boxes, ids and trails into one of its videos."""
    from jobs.render import render_video
    from jobs.storage import Access

    access = Access(profile, endpoint_url, region)
    with usage_errors():
        done = render_video(run, video=video, out=out, access=access, trail_s=trail_s, overwrite=overwrite)
    typer.echo(f"{done.num_frames:,} frames: {done.uri}")


@app.command(rich_help_panel=MODELS)
def scenes(
    folder: Annotated[Path, typer.Argument(help="Folder to create: images/ and annotations.json.")],
    num: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the first scene; the others follow.")] = 0,
    video: Annotated[bool, typer.Option("--video", help="Moving scenes, with tracks as MOT text.")] = False,
    defects: Annotated[
        bool, typer.Option("--defects", help="Pictures of an inspection station, with masks of defects.")
    ] = False,
) -> None:
    """Render sample scenes of parts on a conveyor, with exact boxes and masks as COCO JSON.

    --video renders moving ones; --defects pictures of an inspection station: normal ones, and a tenth as many
    of each defect, in the layout of MVTec AD.
    """
    if video and defects:
        raise typer.BadParameter("name one of --video and --defects")
    if defects:
        from cvcore.scenes.inspection import DEFECTS, write_inspections

        write_inspections(folder, num_normal=num, num_test=max(1, num // 10), seed=seed)
        typer.echo(
            f"{num} normal pictures: {folder / 'train' / 'good'}; {max(1, num // 10)} each of good ones, "
            f"{', '.join(DEFECTS)}: {folder / 'test'}, masks {folder / 'masks'}"
        )
        return
    if video:
        from cvcore.scenes.mot import write_video_scenes

        write_video_scenes(folder, num_videos=num, seed=seed)
        typer.echo(f"{num} videos: {folder / 'videos'}, ground truth {folder / 'truth'}")
        return
    from cvcore.scenes.coco import write_scenes

    write_scenes(folder, num_scenes=num, seed=seed)
    typer.echo(f"{num} scenes: {folder / 'images'}, ground truth {folder / 'annotations.json'}")


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="veedor")


if __name__ == "__main__":
    main()
