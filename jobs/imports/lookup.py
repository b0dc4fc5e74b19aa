"""Which image of a run, or of a folder, an image of a file is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from cvcore.errors import SpecError
from jobs.export.names import plain_name
from jobs.imports.given import Given, stem

_SHOWN = 3

Key = tuple[tuple[str, ...], int | None, bool]


class GivenIndex:
    """Finds what is given for an image: by its location, else by its name from the end.

    Args:
        given: of a file.
        source: what names are relative to.
        whole: what messages call all the images together.

    Raises:
        SpecError: if a file has an image twice.
    """

    def __init__(self, given: Sequence[Given], source: str, *, whole: str = "the run") -> None:
        self._given, self._source, self._whole = given, source, whole
        self._by_uri: dict[tuple[str, int | None], int] = {}
        self._by_name: dict[Key, int] = {}
        self._rows: dict[int, str] = {}
        for k, each in enumerate(given):
            key: Key = (PurePosixPath(each.name).parts, each.frame_index, each.by_stem)
            if key in self._by_name:
                raise SpecError(f"the file has {_shown(each)} twice: its objects would be corrected twice")
            self._by_name[key] = k
            if each.uri is not None:
                self._by_uri[each.uri, each.uri_frame] = k
        self._lengths = sorted({len(key[0]) for key in self._by_name}, reverse=True)

    def find(self, uri: str, name: str, frame_index: int | None = None) -> Given | None:
        """What is said of an image, or of a video's frame; None for nothing.

        Args:
            uri: where the image, or the video, is.
            name: what exports call it, see `jobs.export.names.image_name`.
            frame_index: of a frame.

        Raises:
            SpecError: if a name is that of more than one of them.
        """
        k = self._by_uri.get((uri, frame_index))
        if k is None:
            keys = self._keys(uri, name, frame_index)
            k = next((self._by_name[key] for key in keys if key in self._by_name), None)
        if k is None:
            return None
        if k in self._rows:
            raise SpecError(
                f"{_shown(self._given[k])} is the end of more than one name in {self._whole}: "
                f"{self._rows[k]} and {name}. Give more of the path"
            )
        self._rows[k] = name
        return self._given[k]

    def _keys(self, uri: str, name: str, frame_index: int | None) -> Iterator[Key]:
        names: list[tuple[str, int | None, bool]] = [(name, None, False), (stem(name), None, True)]
        if frame_index is not None:
            video = plain_name(uri, self._source)
            names += [(video, frame_index, False), (stem(video), frame_index, True)]
        for each, frame, by_stem in names:
            parts = PurePosixPath(each).parts
            for length in self._lengths:
                if length <= len(parts):
                    yield parts[-length:], frame, by_stem

    def check_all_found(self) -> None:
        """Refuse a file with images that nothing was.

        Raises:
            SpecError: naming some of them.
        """
        strangers = [each for k, each in enumerate(self._given) if k not in self._rows]
        if strangers:
            named = ", ".join(map(_shown, strangers[:_SHOWN]))
            more = f" and {len(strangers) - _SHOWN:,} more" if len(strangers) > _SHOWN else ""
            raise SpecError(
                f"{len(strangers):,} of {len(self._given):,} images are not in {self._whole}: {named}{more}. "
                "Names are compared from their end; take these out of the file, or name what it is of"
            )


def _shown(given: Given) -> str:
    return given.name if given.frame_index is None else f"frame {given.frame_index} of {given.name}"
