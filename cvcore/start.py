"""Starting a detector or segmenter from weights made for something else: other classes, or a classifier."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cvcore.checkpoint import is_checkpoint, is_state_dict, read_checkpoint, read_state_dict
from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.network import DarknetNetwork
from cvcore.darknet.weights import cutoff_from_name, load_weights, read_header
from cvcore.detect.base import TrainableDetector
from cvcore.errors import ModelError, WeightsError
from cvcore.segment.base import Segmenter

FLOAT_BYTES = 4


def start_from(
    model: TrainableDetector | Segmenter, data: bytes, *, name: str, sha256: str | None = None
) -> None:
    """Copy from a file of weights what fits `model`; the rest stays as it is.

    Read are the project's checkpoints, of the same architecture with the same or other classes; Darknet's
    `.weights`, whole ones of any number of classes and partial ones whose name ends in their number of layers
    (`darknet53.conv.74`); and state dicts of torchvision's classifiers, for models with such a trunk. A
    detector with masks takes what its detector of boxes alone would take, too.

    A model on `meta` is filled with nothing, but what would not fit a real one is refused.

    Args:
        model: to fill.
        data: the file's content.
        name: what messages call it.
        sha256: its pin; required for pickles.

    Raises:
        WeightsError: for a damaged file, or one that is not what it is said to be.
        ModelError: where too little of it fits, or the model cannot start from such a file.
    """
    state = read_checkpoint(data).state if is_checkpoint(data) else None
    if isinstance(model, TrainableDetector):
        model = model.filled_by(state)
    if state is not None:
        _copy_fitting(model, state, name=name)
    elif isinstance(model, DarknetDetector) and not is_state_dict(data):
        _start_darknet(model, data, name=name)
    else:
        model.load_backbone(read_state_dict(data, name=name, sha256=sha256), name=name)


def _copy_fitting(model: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    own = model.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    if 2 * len(fitting) < len(own):
        raise ModelError(
            f"{name} does not fit a {type(model).__name__} of this configuration: only {len(fitting)} of its "
            f"{len(own)} tensors have the same name and shape. Give the width, size and backbone that it was "
            "made with"
        )
    model.load_state_dict(fitting, strict=False)


def _start_darknet(model: DarknetDetector, data: bytes, *, name: str) -> None:
    cutoff = cutoff_from_name(name)
    if cutoff is not None:
        model.load_darknet_weights(data, name=name, num_layers=cutoff)
        return
    num_classes = _classes_in(model, data, name=name)
    if num_classes == len(model.labels):
        model.load_darknet_weights(data, name=name)
        return
    other = DarknetNetwork(model.with_classes(num_classes).network.cfg)
    load_weights(other, data, name=name)
    _copy_fitting(model, {f"network.{key}": v for key, v in other.state_dict().items()}, name=name)


def _classes_in(model: DarknetDetector, data: bytes, *, name: str) -> int:
    """For how many classes the file's network was, found from its number of values, which grows with them."""
    found = (len(data) - read_header(data, name=name).num_bytes) // FLOAT_BYTES
    own, classes = model.network.cfg.num_weights, len(model.labels)
    more = model.with_classes(classes + 1).network.cfg.num_weights - own
    extra, odd = divmod(found - own, more)
    if odd or classes + extra < 1:
        raise WeightsError(
            f"{name} holds {found} values, which is this network for no number of classes: it has {own} for "
            f"{classes} and {more} more for each further one"
        )
    return classes + extra
