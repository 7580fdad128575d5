"""Tiny networks of every architecture, and a bundle around one."""

from datetime import UTC, datetime

import numpy as np
import torch

from models.bundle import Bundle
from models.manifest import CALIBRATION, CARD, MODEL, InputSpec, Manifest
from models.networks.backbone import Backbone
from models.networks.detector import Detector
from models.networks.registry import ARCHITECTURES, build
from models.training.onnxexport import to_onnx
from tests.models.tiny import CALIBRATED

DIMENSIONS = 4


def tiny(name: str, **options: object) -> Backbone:
    """A tiny network, always the same; its batch norms have seen pictures, as after training."""
    torch.manual_seed(1)
    backbone = build(name, **{**ARCHITECTURES[name].tiny, **options})
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        backbone(torch.from_numpy(pixels(4, side_of(backbone), 7)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return backbone


def pixels(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Noise, uint8 ``[count, side, side, 3]``."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def side_of(backbone: Backbone) -> int:
    """The crop side it takes, or a small one."""
    return backbone.side or 64


def detector(backbone: Backbone) -> Detector:
    """A detector with a random head, features standardised as training does."""
    rng = np.random.default_rng(2)
    backbone.fuse()
    with torch.inference_mode():
        features = backbone(torch.from_numpy(pixels(16, side_of(backbone), 9)))
    return Detector(
        backbone,
        centre=features.mean(0),
        scale=features.std(0) + 1e-3,
        clip=6.0,
        weight=torch.from_numpy(rng.normal(size=backbone.width) / backbone.width**0.5),
        bias=0.3,
        projection=torch.from_numpy(rng.normal(size=(backbone.width, DIMENSIONS)) / backbone.width**0.5),
    ).eval()


def bundle(net: Detector, side: int) -> Bundle:
    """A bundle of it, two crops a picture, in memory."""
    manifest = Manifest(
        name="tiny", version="1", created=datetime(2026, 1, 1, tzinfo=UTC), input=InputSpec(size=side, crops=2)
    )
    model = to_onnx(net, side, net.outputs)
    return Bundle.build(manifest, {MODEL: model, CALIBRATION: CALIBRATED.to_json(), CARD: b"# Tiny\n"})
