"""Writing `.cfg` texts: layers in short, at any width."""

from __future__ import annotations

from cvcore.darknet.classifiers import scaled_channels


class CfgWriter:
    """Sections, one after the other, with all channels multiplied by `width`.

    Attributes:
        num_layers: written so far; the next one has this index.
    """

    def __init__(self, *, size: int, width: float) -> None:
        self._sections = [f"[net]\nheight={size}\nwidth={size}\nchannels=3"]
        self._width = width

    @property
    def num_layers(self) -> int:
        return len(self._sections) - 1

    def channels(self, filters: int) -> int:
        """`filters` at this width, a multiple of 8 unless the width is 1."""
        return scaled_channels(filters, self._width)

    def add(self, name: str, **settings: object) -> int:
        """Write a section; returns its layer's index."""
        lines = [f"{key}={value}" for key, value in settings.items()]
        self._sections.append("\n".join([f"[{name}]", *lines]))
        return self.num_layers - 1

    def convolve(self, filters: int, size: int = 3, *, stride: int = 1) -> int:
        """Convolution at this width, batch norm and leaky rectifier."""
        return self.add(
            "convolutional",
            batch_normalize=1,
            filters=self.channels(filters),
            size=size,
            stride=stride,
            pad=1,
            activation="leaky",
        )

    def convolve_plainly(self, filters: int, size: int = 3, *, stride: int = 1) -> int:
        """Convolution to exactly so many channels and a rectifier, as classifiers before batch norm have."""
        return self.add("convolutional", filters=filters, size=size, stride=stride, pad=1, activation="relu")

    def fire(self, squeezed: int, expanded: int) -> int:
        """SqueezeNet's module: 1x1 to few channels, then 1x1 and 3x3 to many, joined."""
        narrow = self.convolve_plainly(squeezed, 1)
        left = self.convolve_plainly(expanded, 1)
        self.route(narrow)
        return self.route(left, self.convolve_plainly(expanded))

    def project(self, filters: int) -> int:
        """A 1x1 convolution to exactly so many raw outputs."""
        return self.add("convolutional", filters=filters, size=1, stride=1, pad=1, activation="linear")

    def residual(self, filters: int) -> int:
        """Darknet-53's block: 1x1 to half the channels, 3x3 back, and the input added."""
        self.convolve(filters // 2, 1)
        self.convolve(filters)
        return self.add("shortcut", **{"from": -3, "activation": "linear"})

    def route(self, *layers: int) -> int:
        """The named layers, by index, joined along channels."""
        return self.add("route", layers=",".join(map(str, layers)))

    def body(self, text: str) -> None:
        """Layers in short.

        `filters`, `filters/size` or `filters/size/stride`; `M` for a maximum that halves, `m` for one of
        stride 1.
        """
        for word in text.split():
            if word in "Mm":
                self.add("maxpool", size=2, stride=2 if word == "M" else 1)
                continue
            given = [int(number) for number in word.split("/")]
            filters, size, stride = given + [3, 1][len(given) - 1 :]
            self.convolve(filters, size, stride=stride)

    def text(self) -> str:
        """The whole `.cfg`."""
        return "\n\n".join(self._sections) + "\n"
