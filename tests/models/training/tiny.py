"""A tiny run: pictures, a recipe, and the parts of a loop around a tiny network."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.evaluation.pictures import Item
from models.networks.registry import ARCHITECTURES, build
from models.recipes import Finetune
from models.training import loop
from models.training.augmentation import augmentation
from models.training.batches import Batches
from models.training.checkpoints import Checkpoints
from models.training.progress import SILENT, Listener
from models.training.ranks import Ranks
from models.training.schedule import optimiser
from models.training.scoring import Average, Scoring
from models.training.state import State
from models.training.store import Store

CPU = Ranks(0, 1, torch.device("cpu"))
SIDE = 20


def recipe(**changes: object) -> Finetune:
    """A run of a few steps."""
    fields = {
        "name": "tiny", "version": "1", "architecture": "residual-small",
        "options": dict(ARCHITECTURES["residual-small"].tiny), "crop": 16, "steps": 30, "batch": 8, "rate": 1e-2,
        "augmentation": {"kind": "shifts", "pixels": 1, "group": 4}, "tiers": ["clean"], "validation": 0.3,
        "validations": 2, "dimensions": 4, "checks": {"smallest_side": 16},
    }  # fmt: skip
    return Finetune.model_validate({**fields, **changes})


def picture(seed: int, *, machine_made: bool, kind: str = "JPEG") -> bytes:
    """Noise; the machine's is coarse."""
    rng = np.random.default_rng(seed)
    size = SIDE // 4 if machine_made else SIDE
    pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(out, kind, quality=90)
    return out.getvalue()


def folder(path: Path, each: int = 20) -> Path:
    """So many pictures of each class, of no named source."""
    for label in ("real", "fake"):
        (path / label).mkdir(parents=True)
        for number in range(each):
            data = picture(number + 1000 * (label == "fake"), machine_made=label == "fake")
            (path / label / f"{number:03d}.jpg").write_bytes(data)
    return path


def items(each: int = 12) -> list[Item]:
    """So many pictures of each class, in memory."""
    return [
        Item(picture(number + 1000 * label, machine_made=bool(label)), label, f"{name}/one", str(number), {})
        for label, name in enumerate(("real", "fake"))
        for number in range(each)
    ]


def state(plan: Finetune) -> State:
    """A run before its first step."""
    torch.manual_seed(plan.seed)
    net = Scoring(build(plan.architecture, None, **plan.options))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return State(net, Average(net, plan.average), optimiser(net.backbone, net.head, plan), scaler)


def batches(plan: Finetune) -> Batches:
    """Batches of `items`."""
    found = items()
    labels = np.array([item.label for item in found], np.int64)
    augment = augmentation(plan.augmentation, size=plan.crop, seed=plan.seed)
    return Batches(Store(found), labels, np.ones(len(found)), plan, augment)


def run(
    plan: Finetune, path: Path, *, validate: loop.Validate = lambda net: {"clean": 0.5}, listener: Listener = SILENT
) -> State:
    """The loop from its start to its end."""
    torch.set_num_threads(1)  # threads that wait for each other cost more than a tiny network
    begun = state(plan)
    loop.train(
        begun, batches(plan), plan, validate, ranks=CPU, checkpoints=Checkpoints(path, "run", 1000), listener=listener
    )  # fmt: skip
    return begun
