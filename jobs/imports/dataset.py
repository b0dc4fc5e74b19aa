"""`veedor import FILE --as-dataset OUT`: what a tool says becomes a dataset to train on and to measure "
"with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cvcore.datasets.drafts import Draft, finish_records
from cvcore.datasets.files import Files, is_image, read_sizes
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.records import BoxDataset
from cvcore.datasets.write import write_dataset
from cvcore.errors import SpecError
from jobs.dataset_convert import Converted, check_target
from jobs.datasets import list_names, open_files
from jobs.imports.corrections import read_annotations
from jobs.imports.given import Given, scaled
from jobs.imports.lookup import GivenIndex
from jobs.storage import Access, join, open_store, resolve_location

_NUM_THREADS = 16


def import_dataset(source: str, out: str, *, of: str, images: str, access: Access) -> Converted:
    """Write annotations with their images as a COCO dataset, as `veedor dataset convert --to coco` does.

    Args:
        source: a file or folder in a format.
        out: a folder that does not exist or is empty.
        of: the format; not `mot`, which is of videos.
        images: the folder of the images that it speaks of.
        access: to all.

    Raises:
        SpecError: if the file is not of the format, is of videos, or has images that are not in the folder.
    """
    folder, target = (resolve_location(each).rstrip("/") for each in (images, out))
    given = read_annotations(source, of=of, access=access)
    if any(each.frame_index is not None for each in given):
        raise SpecError(f"{source} is of videos: a dataset is of images")
    source_store, store = open_store(folder, access), open_store(target, access)
    check_target(folder, store, target)
    names = list_names(source_store, folder)
    files = open_files(source_store, folder, names)
    log = ProblemLog()
    dataset = _dataset(_paired(given, folder, names), files, log)
    output = write_dataset({"": dataset}, "coco")

    def put(item: tuple[str, str | bytes]) -> None:
        name, body = item
        store.put(join(target, name), files.read(body) if isinstance(body, str) else body)

    with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="veedor-import") as pool:
        list(pool.map(put, [(new, old) for old, new in output.images]))
        list(pool.map(put, output.files.items()))
    counts = (len(dataset.images), dataset.num_boxes, output.num_renamed)
    return Converted(target, *counts, log.problems(), output.losses)


def _paired(given: list[Given], folder: str, names: tuple[str, ...]) -> dict[str, Given]:
    """What is given by the name of its image in the folder."""
    index = GivenIndex(given, folder, whole=folder)
    pairs = {}
    for name in filter(is_image, names):
        mine = index.find(join(folder, name), name)
        if mine is not None:
            pairs[name] = mine
    index.check_all_found()
    return pairs


def _dataset(pairs: dict[str, Given], files: Files, log: ProblemLog) -> BoxDataset:
    labels = sorted({box.label for given in pairs.values() for box in given.boxes})
    places = {label: k for k, label in enumerate(labels)}
    sizes = read_sizes(files, pairs, log)
    drafts = []
    for name, given in pairs.items():
        size = sizes[name]
        draft = Draft(name)
        for box in given.boxes if size is not None else ():
            assert size is not None
            drawn = scaled(box, size, in_shares=given.in_shares)
            draft.add(drawn.box, places[box.label], _attributes(drawn.mask))
        drafts.append(draft)
    records = finish_records(drafts, num_labels=len(labels), files=files, log=log, look="sizes", sizes=sizes)
    return BoxDataset(records, tuple(labels))


def _attributes(mask: Any) -> dict[str, Any]:
    return {} if mask is None else {"segmentation": dict(mask)}
