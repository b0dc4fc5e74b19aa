"""What every model of a `.cfg` has: how it is built from text, and how its weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import nn

from cvcore.darknet.cfg import Cfg, parse_cfg
from cvcore.darknet.network import DarknetNetwork
from cvcore.darknet.weights import LoadedWeights, load_weights


class DarknetModel(nn.Module):
    """Base of Darknet's detectors and classifiers.

    Attributes:
        network: the layers; `network.cfg` says what they are.
        cfg_text: what they were read from, where that is known.
    """

    network: DarknetNetwork
    cfg_text: str = ""

    def __init__(self, cfg: Cfg, *, labels: Sequence[str] | None = None) -> None:
        """Build with random weights; subclasses check `cfg` and keep `labels`."""
        super().__init__()
        del labels
        self.network = DarknetNetwork(cfg)

    @classmethod
    def from_cfg(
        cls,
        cfg_text: str,
        *,
        labels: Sequence[str] | None = None,
        height: int | None = None,
        width: int | None = None,
    ) -> Self:
        """Build from the text of a `.cfg`, optionally on another canvas, with random weights.

        Raises:
            CfgError: naming line and section.
            ModelError: as the constructor.
        """
        model = cls(parse_cfg(cfg_text, height=height, width=width), labels=labels)
        model.cfg_text = cfg_text
        return model

    def load_darknet_weights(
        self, data: bytes, *, name: str = "weights", num_layers: int | None = None
    ) -> LoadedWeights:
        """Load a `.weights` file, or the first `num_layers` layers of a partial one.

        In evaluation mode the network is then fused for speed.

        Raises:
            WeightsError: where the file does not fit, naming the layer and both counts.
        """
        loaded = load_weights(self.network, data, name=name, num_layers=num_layers)
        if not self.training:
            self.network.fuse()
        return loaded
