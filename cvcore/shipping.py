"""`python -m cvcore.shipping`: a trained checkpoint as it ships, without what other shipped weights hold."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from cvcore.checkpoint import read_checkpoint, save_checkpoint
from cvcore.checkpoint_base import Base
from cvcore.errors import WeightsError


def leave_out_base(data: bytes, *, base: Base) -> bytes:
    """The same checkpoint with a base, which reads as the whole one did.

    Raises:
        WeightsError: where it does not hold the base's weights as they are.
    """
    whole = read_checkpoint(data)
    own = dict(whole.state)
    for key, value in read_checkpoint(base.read()).state.items():
        mine = own.pop(f"{base.prefix}{key}", None)
        if mine is None or not torch.equal(mine, value):
            raise WeightsError(
                f"{base.prefix}{key} is not {base.model}'s {key}: start from those weights and freeze them"
            )
    return save_checkpoint(
        own, model=whole.model, config=whole.config, labels=whole.labels, training=whole.training, base=base
    )


def main() -> None:
    """Write the checkpoint that ships."""
    parser = argparse.ArgumentParser(prog="python -m cvcore.shipping", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="the model.safetensors of a training run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", required=True, help="the model whose shipped weights it began with")
    parser.add_argument("--prefix", required=True, help="what their names begin with in it, as 'detector.'")
    arguments = parser.parse_args()
    base = Base.of(arguments.base, prefix=arguments.prefix)
    arguments.out.write_bytes(leave_out_base(arguments.checkpoint.read_bytes(), base=base))


if __name__ == "__main__":
    main()
