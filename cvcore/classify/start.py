"""Starting a classifier or localiser from weights that were made for other classes, or without boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from cvcore.checkpoint import is_checkpoint, is_state_dict, read_checkpoint, read_state_dict
from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.darknet.classifiers import DarknetClassifier
from cvcore.darknet.weights import cutoff_from_name, read_header
from cvcore.errors import ModelError, WeightsError

FLOAT_BYTES = 4
_COUNTER = "num_batches_tracked"
_TORCHVISION, _LOCALIZER, _BOXES = "network.", "classifier.", "box_head."


@dataclass(frozen=True, slots=True)
class Started:
    """What a model began from.

    Attributes:
        head_is_new: whether its classes are told by random weights.
        boxes_are_new: whether its boxes are; False for a model without.
        num_classes_before: of the file's own head; None where it holds none.
    """

    head_is_new: bool
    boxes_are_new: bool
    num_classes_before: int | None


def start_classifier(
    model: Classifier | Localizer, data: bytes, *, name: str, sha256: str | None = None
) -> Started:
    """Copy a trunk from a file of weights, and the heads where they are of the same classes.

    Read are the project's checkpoints of the same architecture, torchvision's state dicts, and Darknet's
    `.weights` of Darknet classifiers, whole ones and partial ones whose name ends in their number of layers.
    A model on `meta` is filled with nothing, but what would not fit a real one is refused.

    Args:
        model: to fill.
        data: the file's content.
        name: what messages call it.
        sha256: its pin; required for pickles.

    Raises:
        WeightsError: for a damaged file, or one that is not what it is said to be.
        ModelError: for another architecture's weights.
    """
    bare = model.classifier if isinstance(model, Localizer) else model
    boxes = model.box_head if isinstance(model, Localizer) else None
    if is_checkpoint(data):
        checkpoint = read_checkpoint(data)
        same_classes = checkpoint.labels == model.labels
        state = checkpoint.state
        if any(key.startswith(_BOXES) for key in state):
            state = {key.removeprefix(_LOCALIZER): value for key, value in state.items()}
        return _copy(bare, boxes, state, name=name, same_classes=same_classes)
    if isinstance(bare, DarknetClassifier) and not is_state_dict(data):
        return _start_darknet(bare, data, name=name, boxes_are_new=boxes is not None)
    state = read_state_dict(data, name=name, sha256=sha256)
    return _copy(bare, boxes, {_TORCHVISION + key: value for key, value in state.items()}, name=name)


def _copy(
    bare: Classifier,
    boxes: nn.Module | None,
    state: Mapping[str, Tensor],
    *,
    name: str,
    same_classes: bool = True,
) -> Started:
    own = bare.state_dict()
    head = [key for key in own if key.startswith(bare.head_prefix)]
    trunk = [key for key in own if key not in head and not key.endswith(_COUNTER)]
    wrong = [key for key in trunk if not _fits(state, key, own[key])]
    if wrong:
        raise ModelError(
            f"{name} does not fit this model: {len(wrong)} of the {len(trunk)} tensors before its head are "
            f"missing or of another shape ({', '.join(wrong[:3])}). Give weights of the same architecture, "
            "at the same width"
        )
    keeps_head = same_classes and all(_fits(state, key, own[key]) for key in head)
    taken = [key for key in own if key in state and (keeps_head or key not in head)]
    bare.load_state_dict({key: state[key] for key in taken}, strict=False)
    boxes_are_new = boxes is not None and not _copy_boxes(boxes, state)
    before = next((len(state[key]) for key in head if key in state), None)
    return Started(not keeps_head, boxes_are_new, before)


def _copy_boxes(boxes: nn.Module, state: Mapping[str, Tensor]) -> bool:
    own = boxes.state_dict()
    if not all(_fits(state, _BOXES + key, value) for key, value in own.items()):
        return False
    boxes.load_state_dict({key: state[_BOXES + key] for key in own})
    return True


def _fits(state: Mapping[str, Tensor], key: str, like: Tensor) -> bool:
    return key in state and state[key].shape == like.shape


def _start_darknet(model: DarknetClassifier, data: bytes, *, name: str, boxes_are_new: bool) -> Started:
    """All of a file of as many classes, else the layers before the classifying one."""
    cutoff = cutoff_from_name(name)
    if cutoff is not None:
        model.load_darknet_weights(data, name=name, num_layers=cutoff)
        return Started(True, boxes_are_new, None)
    layers, header = model.network.cfg.layers, read_header(data, name=name).num_bytes
    num_trunk = sum(layer.num_weights for layer in layers[: model.num_trunk_layers])
    per_class = layers[model.num_trunk_layers].num_weights // len(model.labels)
    found = (len(data) - header) // FLOAT_BYTES
    num_classes, odd = divmod(found - num_trunk, per_class)
    if odd or num_classes < 1:
        raise WeightsError(
            f"{name} holds {found} values, which is this network for no number of classes: it has "
            f"{num_trunk} before its last layer and {per_class} for each class"
        )
    if num_classes == len(model.labels):
        model.load_darknet_weights(data, name=name)
        return Started(False, boxes_are_new, num_classes)
    trunk = data[: header + num_trunk * FLOAT_BYTES]
    model.load_darknet_weights(trunk, name=name, num_layers=model.num_trunk_layers)
    return Started(True, boxes_are_new, num_classes)
