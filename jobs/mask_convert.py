"""Writing datasets of masks in another format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from cvcore.datasets.files import Size, read_sizes
from cvcore.datasets.mask_files import Mask, encode_mask
from cvcore.datasets.mask_write import (
    DOCUMENTED,
    MASK_TARGETS,
    MaskPlaces,
    coco_document_of,
    coco_shapes,
    describing_files,
    document_name,
    mask_losses,
    place_masks,
)
from cvcore.datasets.masks import MaskDataset, MaskLoader, MaskRecord
from cvcore.datasets.panoptic import encode_segments, panoptic_document_of, segments_of
from jobs.dataset_convert import NUM_THREADS, Converted, chosen_target, link_image, open_target
from jobs.masks import MaskSource
from jobs.storage import Access, Store, join


def convert_masks(
    source: MaskSource,
    out: str,
    *,
    to: str,
    access: Access,
    split: str | None = None,
    link: bool = False,
    strict: bool = False,
) -> Converted:
    """Write a dataset of masks in another format, with its images; arguments as of `convert_dataset`.

    Maps of classes are what is written: of COCO's instances too, and each class of an image becomes one of
    COCO's. An image whose mask cannot be used is left out and counted.

    Args:
        source: what to convert.
        out: a folder that does not exist or is empty.
        to: `masks`, `voc`, `coco` or `panoptic`.
        access: to `out`.
        split: this one alone; None for all, each as itself.
        link: give local images a second name instead of copying them.
        strict: whether problems that no correct dataset has are fatal.

    Raises:
        SpecError: for another format, a folder that is in use, or links where there can be none.
    """
    target = chosen_target(to, MASK_TARGETS)
    folder, store = open_target(out, access, source=source.location, link=link)
    wanted = [split] if split is not None else source.splits if source.has_splits else [None]
    datasets = {name or "": source.read(name) for name in wanted}
    names = {name: [record.name for record in dataset.images] for name, dataset in datasets.items()}
    labels = next(iter(datasets.values())).labels
    places = place_masks(names, target)
    writing = _Writing(source, store, folder, places, num_classes=len(labels), link=link)
    if strict:
        writing.check(datasets)
        source.log.problems().refuse(source.location)
    done = {name: writing.split(name, dataset) for name, dataset in datasets.items()}
    there = {(name, image) for name, images in done.items() for image in images}
    kept = {key: place for key, place in writing.places.images.items() if key in there}
    files = describing_files(replace(writing.places, images=kept), labels)
    for name, images in done.items() if target in DOCUMENTED else ():
        document = coco_document_of if target == "coco" else panoptic_document_of
        files[document_name(name, target)] = document(images.values(), labels)
    for name, body in files.items():
        store.put(join(folder, name), body)
    num_shapes = sum(len(record.shapes) for dataset in datasets.values() for record in dataset.images)
    losses = mask_losses(target, labels, num_shapes)
    return Converted(folder, len(there), None, writing.places.num_renamed, source.log.problems(), losses)


_Stated = tuple[str, int, int, Sequence[Any]]
"""Of an image: the name that a document has of it, its height and width, and its shapes or segments."""
_Written = dict[str, _Stated]
"""By record's name."""


class _Writing:
    """Images and their masks, from one folder to the other."""

    def __init__(
        self,
        source: MaskSource,
        store: Store,
        folder: str,
        places: MaskPlaces,
        *,
        num_classes: int,
        link: bool,
    ) -> None:
        self.places = places
        self._num_classes = num_classes
        self._source, self._store, self._folder, self._link = source, store, folder, link

    def check(self, datasets: Mapping[str, MaskDataset]) -> None:
        """Look at every mask, and write nothing; the source's log has what is wrong."""
        for dataset in datasets.values():
            loader, sizes = self._opened(dataset)
            for record in dataset.images:
                _load(loader, record, sizes)

    def split(self, split: str, dataset: MaskDataset) -> _Written:
        """Write the images of a split that have usable masks."""
        loader, sizes = self._opened(dataset)
        with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="veedor-convert") as pool:
            found = pool.map(lambda record: self._image(split, record, loader, sizes), dataset.images)
            return {
                record.name: each
                for record, each in zip(dataset.images, found, strict=True)
                if each is not None
            }

    def _opened(self, dataset: MaskDataset) -> tuple[MaskLoader, dict[str, Size | None]]:
        names = [record.name for record in dataset.images]
        return self._source.loader(dataset), read_sizes(self._source.files, names, self._source.log)

    def _image(
        self, split: str, record: MaskRecord, loader: MaskLoader, sizes: Mapping[str, Size | None]
    ) -> _Stated | None:
        ids = _load(loader, record, sizes)
        if ids is None:
            return None
        image = self.places.images[split, record.name]
        if self._link:
            link_image(join(self._source.location, record.name), join(self._folder, image))
        else:
            self._store.put(join(self._folder, image), self._source.files.read(record.name))
        height, width = ids.shape
        name = image.removeprefix("images/")
        if self.places.to == "coco":
            return name, height, width, coco_shapes(ids)
        place = join(self._folder, self.places.masks[split, record.name])
        if self.places.to == "panoptic":
            self._store.put(place, encode_segments(ids, num_classes=self._num_classes))
            return name, height, width, segments_of(ids, num_classes=self._num_classes)
        self._store.put(place, encode_mask(ids))
        return name, height, width, ()


def _load(loader: MaskLoader, record: MaskRecord, sizes: Mapping[str, Size | None]) -> Mask | None:
    size = sizes[record.name]
    return None if size is None else loader.load(record, height=size[1], width=size[0])
