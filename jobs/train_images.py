"""Normal images for training: pinned once, split, and streamed as canvases by Ray Data."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray.data import DataContext

from cvcore.errors import SpecError
from cvcore.train.stream import Canvases
from cvcore.types import InputSpec
from jobs.board import Tally
from jobs.pinned import PinnedInputs, pin_inputs
from jobs.plan import Plan, choose_images_per_unit, select_inputs
from jobs.run_folder import new_writer
from jobs.stages.decode import DecodeStage, Quarantine, decoded_units
from jobs.stages.rows import canvas_array
from jobs.storage import BucketMissing, ObjectInfo, join, open_store
from jobs.train_normals_spec import NormalsTrainSpec

DECODE_CPUS = 0.25
PARTS = ("train", "held-out")
MAX_HELD_OUT = 2000
"""More would only make each epoch's measurement slower."""


@dataclass(frozen=True)
class Split:
    """What is learned from, and what is held out: each in a random order, so that every unit is a sample."""

    train: PinnedInputs
    held_out: PinnedInputs


def pin_images(spec: NormalsTrainSpec, *, held_out: float, at_least: int) -> Split:
    """List, sample, split and pin the images of a run, or read what its first attempt pinned.

    Which are held out, and the order of both, depend on the digests of locations alone.

    Raises:
        SpecError: for a location without enough images.
    """
    store = open_store(spec.out, spec.access)
    if store.exists(_pins(spec, PARTS[-1])):
        return read_split(spec)
    source = open_store(spec.data, spec.access)
    kept: list[ObjectInfo] = []

    def sample(infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
        kept.extend(heapq.nsmallest(spec.max_images, infos, key=_rank))
        return iter(())

    try:
        select_inputs(source.walk(spec.data), spec.source, unseen=sample)
    except BucketMissing as error:
        raise SpecError(f"data: {error}") from error
    if len(kept) < at_least:
        raise SpecError(
            f"{spec.data} has {len(kept)} image{'s' * (len(kept) != 1)}: {spec.model} needs at least "
            f"{at_least} to learn what is normal"
        )
    count = min(MAX_HELD_OUT, max(1, round(held_out * len(kept)))) if held_out else 0
    parts = (kept[count:], kept[:count])  # in the order of ranks
    split = Split(*(pin_inputs(part) for part in parts))
    writer = new_writer()
    for name, pinned in zip(PARTS, (split.train, split.held_out), strict=True):
        store.create(_pins(spec, name), pinned.parquet.to_pybytes(), writer=writer)
    return read_split(spec)  # the first attempt's, should two have begun at once


def read_split(spec: NormalsTrainSpec) -> Split:
    """What `pin_images` pinned."""
    store = open_store(spec.out, spec.access)
    return Split(*(PinnedInputs.from_parquet(store.read(_pins(spec, name))) for name in PARTS))


def _pins(spec: NormalsTrainSpec, name: str) -> str:
    return join(spec.out, "_veedor", f"images-{spec.digest[:16]}-{name}.parquet")


def _rank(info: ObjectInfo) -> bytes:
    return hashlib.blake2b(info.uri.encode(errors="surrogatepass"), digest_size=16).digest()


class ImageFeed:
    """Units of pinned images as canvases, decoded by Ray Data's tasks, in the order that is asked for.

    What was decoded is kept in memory as far as `max_cached_bytes` goes. Images that cannot be used are left
    out; more of them than `limits.max_failed_fraction` allows are an error.
    """

    def __init__(self, spec: NormalsTrainSpec, inputs: PinnedInputs, canvas: InputSpec) -> None:
        per_unit = choose_images_per_unit(inputs.num_rows, canvas.num_bytes)
        self.plan = Plan(spec.digest, inputs, per_unit, 1)
        self._spec = spec
        self._canvas = canvas
        bounds = spec.limits.bounds()
        aside = join(spec.out, "_veedor", "quarantine")
        self._stage = DecodeStage(
            ray.put(self.plan),
            spec.access.within(spec.data),
            canvas,
            spec.limits.decode_limits(),
            Tally.start(),
            Quarantine(aside, spec.access, new_writer(), bounds),
        )
        self._kept: dict[int, Canvases] = {}
        self._kept_bytes = 0
        self._failed: dict[int, list[str]] = {}

    def blocks(self, units: Sequence[int]) -> Iterator[Canvases]:
        """The canvases of each unit, (N, H, W, 3) uint8, without those that cannot be used.

        Raises:
            SpecError: when too many cannot.
        """
        missing = [unit for unit in units if unit not in self._kept]
        fresh = self._read(missing) if missing else iter(())
        for unit in units:
            kept = self._kept.get(unit)
            yield kept if kept is not None else self._keep(unit, next(fresh))

    def failures(self) -> dict[str, int]:
        """Images that could not be used so far, by error code."""
        return dict(Counter(line.partition(":")[0] for lines in self._failed.values() for line in lines))

    def _keep(self, unit: int, table: pa.Table) -> Canvases:
        usable = table.column("canvas").is_valid().to_numpy()
        bad = table.filter(pa.array(~usable)).select(["uri", "error_code", "error"]).to_pylist()
        if bad:
            self._failed[unit] = [f"{row['error_code']}: {row['uri']}: {row['error']}" for row in bad]
            self._check_failures()
        every = canvas_array(table.column("canvas"), self._canvas.height, self._canvas.width)
        canvases: Canvases = every[usable]
        if self._kept_bytes + canvases.nbytes <= self._spec.max_cached_bytes:
            self._kept[unit] = canvases  # boolean indexing copied it out of the object store
            self._kept_bytes += canvases.nbytes
        return canvases

    def _check_failures(self) -> None:
        lines = [line for unit in self._failed.values() for line in unit]
        allowed = self._spec.limits.max_failed_fraction
        if len(lines) > allowed * self.plan.num_inputs:
            raise SpecError(
                f"more than {allowed:.0%} of the {self.plan.num_inputs:,} images cannot be used, "
                f"{len(lines)} so far, as {lines[0]}. Remove or repair them, choose others with include and "
                "exclude, or raise limits.max_failed_fraction"
            )

    def _read(self, units: list[int]) -> Iterator[pa.Table]:
        context = DataContext.get_current()
        context.target_max_block_size = None  # one unit, one block
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        decoded = decoded_units(
            self._stage, units, rows_per_unit=self.plan.unit_size(units[0]), num_cpus=DECODE_CPUS
        )
        yield from decoded.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)
