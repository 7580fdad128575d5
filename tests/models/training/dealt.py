"""One of torchrun's processes: trains a tiny network and leaves its weights as `OUT.RANK.npz`."""

import os
import sys
from pathlib import Path

import numpy as np

from models.training import finetuned, loop
from tests.models.training import tiny

if __name__ == "__main__":
    data, out = map(Path, sys.argv[1:])
    begin = loop.train

    def train(state, *rest, **named):
        begin(state, *rest, **named)
        np.savez(out.with_name(f"{out.name}.{os.environ['RANK']}.npz"), **state.arrays())

    loop.train = train
    bundle = finetuned.train([data], out, tiny.recipe(), checkpoints=out.with_name("checkpoints"), threads=1)
    assert (bundle is not None) == (os.environ["RANK"] == "0")
