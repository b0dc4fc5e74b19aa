"""What `veedor train --help` lists is what there is: the command does not import torch to say it."""

from __future__ import annotations

import re
from typing import get_args

from typer.testing import CliRunner

from cluster.cli import app
from cvcore.segment.losses import LOSSES
from cvcore.types import Augmentation


def listed(after: str, before: str) -> set[str]:
    """The words of the help text between two others."""
    shown = CliRunner().invoke(app, ["train", "--help"]).output
    text = " ".join(shown.replace("│", " ").split())
    found = re.search(f"{re.escape(after)}(.*?){re.escape(before)}", text)
    assert found is not None, text
    return set(found[1].replace(",", " ").split())


def test_every_loss_of_segmenters() -> None:
    assert listed("of segmenters: ", ", or several") == set(LOSSES)


def test_every_step_of_views() -> None:
    assert listed("views, by commas: ", "; or none") == set(get_args(Augmentation))
