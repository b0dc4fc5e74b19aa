"""Parsing `.cfg` files: what is read, what is tolerated, and what is refused with line and section."""

from __future__ import annotations

import pytest

from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.layers import Convolutional, MaxPool, Region, Route, Shape, Yolo
from cvcore.errors import CfgError
from tests.cvcore.darknet.builds import cfg_text, sections

CONV = "convolutional filters=4 size=3 pad=1 activation=leaky"
YOLO = "yolo mask=0,1 anchors=1,2,3,4,5,6 num=3 classes=2"
HEAD_CONV = "convolutional filters=14 activation=linear"


def test_reads_a_convolution_with_its_shapes() -> None:
    cfg = parse_cfg(
        cfg_text(sections("convolutional filters=6 size=5 stride=2 pad=1 groups=3 batch_normalize=1"))
    )
    (layer,) = cfg.layers
    assert isinstance(layer, Convolutional)
    assert (layer.index, layer.line, layer.padding, layer.groups) == (0, 5, 2, 3)
    assert (layer.input, layer.output) == (Shape(3, 8, 8), Shape(6, 4, 4))
    assert layer.batch_normalize
    assert layer.activation == "logistic", "Darknet's default"
    assert layer.num_weights == 4 * 6 + 6 * 1 * 25
    assert layer.num_operations == 2 * 6 * 25 * 16


def test_tolerates_comments_spaces_windows_ends_and_training_keys() -> None:
    text = (
        "\ufeff# a comment\r\n[ net ]\r\n; another\r\nheight = 8\r\nwidth=8 # inline\r\nchannels=3\r\n"
        "learning_rate=.1\r\nsteps=1,2\r\n\r\n[convolutional]\r\nfilters = 4\r\nactivation = relu\r\n"
    )
    cfg = parse_cfg(text)
    assert cfg.input == Shape(3, 8, 8)
    assert cfg.layers[0].line == 10
    assert cfg.unused == ()


def test_padding_is_used_where_pad_is_off_and_pad_wins_where_it_is_on() -> None:
    cfg = parse_cfg(
        cfg_text(
            sections(
                "convolutional filters=1 size=3 padding=2", "convolutional filters=1 size=3 padding=2 pad=1"
            )
        )
    )
    assert [layer.padding for layer in cfg.layers if isinstance(layer, Convolutional)] == [2, 1]


@pytest.mark.parametrize(
    ("section", "size", "out"),
    [
        ("maxpool size=2 stride=2", 8, 4),
        ("maxpool size=2 stride=2", 7, 4),
        ("maxpool size=2 stride=1", 7, 7),
        ("maxpool size=3 stride=2 padding=0", 7, 3),
        ("maxpool size=5 stride=1", 7, 7),
        ("maxpool stride=2", 8, 4),
    ],
)
def test_maxpool_sizes_follow_darknet(section: str, size: int, out: int) -> None:
    cfg = parse_cfg(cfg_text(sections(section), height=size, width=size))
    assert isinstance(cfg.layers[0], MaxPool)
    assert cfg.layers[0].output == Shape(3, out, out)


def test_route_offsets_are_relative_below_zero_and_absolute_from_it() -> None:
    body = sections(CONV, CONV, CONV, "route layers=-1,0 groups=2 group_id=1")
    layer = parse_cfg(cfg_text(body)).layers[3]
    assert isinstance(layer, Route)
    assert layer.sources == (2, 0)
    assert layer.output == Shape(4, 8, 8)


def test_yolo_keeps_all_anchors_and_picks_the_masked() -> None:
    (head,) = parse_cfg(cfg_text(sections(HEAD_CONV, YOLO))).heads
    assert isinstance(head, Yolo)
    assert head.anchors == ((1, 2), (3, 4))
    assert len(head.all_anchors) == 3
    assert head.num_classes == 2


def test_region_anchors_are_in_cells_and_a_trailing_comma_is_allowed() -> None:
    text = cfg_text(
        "[convolutional]\nfilters=14\n[region]\nanchors = .5,1,  2,3,\nnum=2\nclasses=2\nsoftmax=1"
    )
    (head,) = parse_cfg(text).heads
    assert isinstance(head, Region)
    assert head.anchors == ((0.5, 1), (2, 3))
    assert head.softmax


def test_unknown_key_far_from_any_is_reported_not_refused() -> None:
    cfg = parse_cfg(cfg_text(sections(f"{CONV} zzz_fork_option=3")))
    (unused,) = cfg.unused
    assert (unused.section, unused.key, unused.line) == ("convolutional", "zzz_fork_option", 10)


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        pytest.param("[convolutionl]\nfilters=4", 5, ["convolutionl", "'convolutional'"], id="section typo"),
        pytest.param("[lstm]\noutput=4", 5, ["unknown section", "Supported"], id="section unsupported"),
        pytest.param("[convolutional]\nfiltres=4", 6, ["'filtres'", "'filters'"], id="key typo"),
        pytest.param("[convolutional]\nsize=3", 5, ["'filters' is missing"], id="key missing"),
        pytest.param("[convolutional]\nfilters=", 6, ["no value"], id="value empty"),
        pytest.param("[convolutional]\nfilters=many", 6, ["integer", "'many'"], id="value not integer"),
        pytest.param("[convolutional]\nfilters=0", 6, ["at least 1", "0"], id="value out of range"),
        pytest.param("[convolutional]\nfilters=4\nfilters=5", 7, ["contradicts", "line 6"], id="key twice"),
        pytest.param("[convolutional]\nfilters=4\npad=3", 7, ["0 to 1", "3"], id="flag"),
        pytest.param("[convolutional]\nfilters=4\nactivation=leeky", 7, ["'leaky'"], id="activation"),
        pytest.param("[convolutional]\nfilters=4\ndilation=2", 7, ["dilation=1"], id="option refused"),
        pytest.param("[convolutional]\nfilters=4\ngroups=2", 7, ["3 input channels"], id="groups in"),
        pytest.param("[convolutional]\nfilters=4\ngroups=3", 7, ["4 filters"], id="groups out"),
        pytest.param("[convolutional]\nfilters=4\nsize=9", 5, ["9x9 window", "3x8x8"], id="window"),
        pytest.param("[convolutional]\nfilters 4", 6, ["neither", "'filters 4'"], id="no equals"),
        pytest.param("[convolutional\nfilters=4", 5, ["not a section"], id="bracket"),
        pytest.param(
            sections(CONV, "route layers=-2"), 11, ["layer -1", "-1 to -1"], id="route before start"
        ),
        pytest.param(sections(CONV, "route layers=7"), 11, ["layer 7", "0 to 0"], id="route not yet there"),
        pytest.param(sections(CONV, "route layers=1"), 11, ["layer 1"], id="route to itself"),
        pytest.param(
            sections(CONV, "maxpool size=2 stride=2", "route layers=-1,0"),
            14,
            ["4x4x4", "4x8x8", "layer 0 [convolutional] (line 5)"],
            id="route sizes",
        ),
        pytest.param(sections(CONV, "route layers=0 groups=3"), 12, ["4 channels"], id="route groups"),
        pytest.param(sections(CONV, "route layers=0 groups=2 group_id=2"), 13, ["0 to 1"], id="route group"),
        pytest.param(
            sections(CONV, "convolutional filters=4 size=4", "shortcut from=0"),
            14,
            ["4x8x8", "4x5x5"],
            id="shortcut sizes",
        ),
        pytest.param(sections(CONV, CONV, "shortcut from=0,1"), 16, ["one layer, got 2"], id="shortcut many"),
        pytest.param(sections(CONV, CONV, "scale_channels from=0"), 15, ["4x1x1", "4x8x8"], id="scale"),
        pytest.param(sections("reorg stride=2"), 5, ["stride^2 = 4", "3 input channels"], id="reorg"),
        pytest.param(sections("crop crop_height=9 crop_width=8"), 6, ["1 to 8", "9"], id="crop"),
        pytest.param(sections("dropout probability=1"), 6, ["below 1"], id="dropout"),
        pytest.param(
            sections(CONV, YOLO),
            10,
            ["2 * (2 classes + 4 coordinates + 1) = 14", "got 4", "set filters on layer 0"],
            id="yolo filters",
        ),
        pytest.param(
            sections(HEAD_CONV, "region num=2 classes=3 anchors=1,2,3,4"), 8, ["= 16", "got 14"], id="region"
        ),
        pytest.param(
            sections(HEAD_CONV, YOLO.replace("num=3", "num=4")), 10, ["8 anchor", "6"], id="anchors"
        ),
        pytest.param(sections(HEAD_CONV, YOLO.replace("0,1", "0,3")), 9, ["anchor 3", "0 to 2"], id="mask"),
        pytest.param(sections(HEAD_CONV, f"{YOLO} new_coords=1"), 13, ["new_coords=0"], id="new_coords"),
        pytest.param(
            sections(HEAD_CONV, YOLO, CONV), 13, ["layer 1 [yolo]", "head"], id="layer after a head"
        ),
        pytest.param(
            sections("connected output=100", "detection classes=2 num=2"), 7, ["588", "100"], id="detection"
        ),
    ],
)
def test_error_names_line_section_and_way_out(body: str, line: int, words: list[str]) -> None:
    with pytest.raises(CfgError) as caught:
        parse_cfg(cfg_text(body))
    message = str(caught.value)
    assert message.startswith(f"line {line}"), message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no section"),
        ("height=3", "before the first section"),
        ("[convolutional]\nfilters=4", "must be [net]"),
        ("[net]\nheight=8\nwidth=8\nchannels=3", "no layer"),
        ("[net]\nheigth=8\nwidth=8\nchannels=3\n[avgpool]", "'height'"),
        ("[net]\nheight=8\nwidth=8\n[avgpool]", "'channels' is missing"),
    ],
)
def test_broken_files_are_refused(text: str, words: str) -> None:
    with pytest.raises(CfgError) as caught:
        parse_cfg(text)
    assert words in str(caught.value)


def test_canvas_can_be_any_multiple_of_the_stride() -> None:
    body = sections(
        "convolutional filters=4 size=3 stride=2 pad=1",
        "convolutional filters=14 size=3 stride=2 pad=1",
        YOLO,
    )
    text = cfg_text(body, height=32, width=32)
    assert parse_cfg(text).stride == 4
    assert parse_cfg(text, height=20, width=64).layers[-1].output == Shape(14, 5, 16)
    with pytest.raises(CfgError, match=r"height=22 is not a multiple .* stride 4; nearest: 20 or 24"):
        parse_cfg(text, height=22)


def test_connected_layers_fix_the_canvas() -> None:
    text = cfg_text(sections("connected output=4"))
    assert parse_cfg(text, height=8).input == Shape(3, 8, 8)
    with pytest.raises(CfgError, match=r"layer 0 \[connected\] .* fixes the canvas at 8x8; got 16x8"):
        parse_cfg(text, height=16)
