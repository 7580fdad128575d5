import pytest

pytest.importorskip("torch", reason="networks need the train extra")
pytest.importorskip("safetensors", reason="networks need the train extra")

import numpy as np
import onnxruntime as ort
import torch

from models.classifier import Classifier
from models.networks.backbone import SpatialBackbone
from models.networks.registry import ARCHITECTURES
from models.training.onnxexport import to_onnx
from tests.models.networks.small import DIMENSIONS, bundle, detector, pixels, side_of, tiny

_NEEDS = dict.fromkeys(("resnet50", "efficientnet_b0", "regnet_y", "vit_b16", "clip_linear"), "transformers")


@pytest.fixture(params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    """Every architecture whose packages are here."""
    if request.param in _NEEDS:
        pytest.importorskip(_NEEDS[request.param], reason="it needs the backbones extra")
    return str(request.param)


def test_it_trains(name: str) -> None:
    backbone = tiny(name)
    head = torch.nn.Linear(backbone.width, 1)
    optimiser = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], 3e-3)
    crops = torch.from_numpy(pixels(8, side_of(backbone)))
    labels = torch.arange(8) % 2
    losses = []
    for _ in range(6):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(head(backbone(crops)).flatten(), labels.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    assert min(losses[1:]) < losses[0]


def test_torch_and_onnx_agree_and_the_batch_size_says_nothing(name: str) -> None:
    net = detector(tiny(name))
    side = side_of(net.backbone)
    session = ort.InferenceSession(to_onnx(net, side, net.outputs), providers=["CPUExecutionProvider"])
    crops = pixels(5, side)
    logit, embedding = session.run(["logit", "embedding"], {"crops": crops})
    with torch.inference_mode():
        expected = [output.numpy() for output in net(torch.from_numpy(crops))]
    assert np.ptp(logit) > 0
    assert np.abs(logit - expected[0]).max() <= 1e-4
    assert np.abs(embedding - expected[1]).max() <= 1e-4
    alone = np.concatenate([session.run(["logit"], {"crops": crop[None]})[0] for crop in crops])
    assert np.abs(logit - alone).max() <= 1e-3


def test_it_serves(name: str) -> None:
    net = detector(tiny(name))
    side = side_of(net.backbone)
    classifier = Classifier.load(bundle(net, side), provider="cpu")
    crops = pixels(4, side)
    scores = classifier.predict([crops[:2], crops[2:]])
    with torch.inference_mode():
        logits = net(torch.from_numpy(crops))[0].numpy().reshape(2, 2).mean(1)
    assert [score.logit for score in scores] == pytest.approx(logits, abs=1e-4)
    assert scores[0].embedding.shape == (DIMENSIONS,)


def test_features_told_to_be_means_of_the_map_are(name: str) -> None:
    backbone = tiny(name).eval()
    if not isinstance(backbone, SpatialBackbone):
        pytest.skip("it has no map")
    crops = torch.from_numpy(pixels(3, side_of(backbone)))
    with torch.inference_mode():
        features, maps = backbone(crops), backbone.maps(crops)
    assert features.shape == (3, backbone.width)
    assert maps.shape[:2] == (3, backbone.channels)
    assert maps.shape[2] * maps.shape[3] > 1
    assert torch.allclose(features[:, backbone.mapped], maps.mean((2, 3)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("residual-small", {"mirrored": True}),
        ("forensic-small", {"front": "raw"}),
        ("efficientnet_lite0", {"taps": (0, 2)}),
        ("efficientnet_lite0_two_scales", {"texture": True}),
        ("resnet50", {"read": "every"}),
        ("efficientnet_b0", {"read": "every"}),
        ("vit_b16", {"read": "every"}),
        ("clip_linear", {"read": "every"}),
    ],
)
def test_options_hold_in_onnx_too(name: str, told: dict[str, object]) -> None:
    if name in _NEEDS:
        pytest.importorskip(_NEEDS[name], reason="it needs the backbones extra")
    backbone = tiny(name, **told).fuse()
    crops = pixels(3, side_of(backbone))
    with torch.inference_mode():
        expected = backbone(torch.from_numpy(crops)).numpy()
    assert expected.shape == (3, backbone.width)
    assert backbone.width != tiny(name).width or told in ({"mirrored": True}, {"front": "raw"})
    model = to_onnx(backbone, side_of(backbone), ["features"])
    (found,) = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"crops": crops})
    assert np.abs(found - expected).max() <= 1e-4


def test_every_parameter_lies_in_one_stage(name: str) -> None:
    backbone = tiny(name)
    staged = [id(parameter) for stage in backbone.stages() for parameter in stage.parameters()]
    assert sorted(staged) == sorted(id(parameter) for parameter in backbone.parameters())


def test_fusing_changes_features_by_rounding_only(name: str) -> None:
    backbone = tiny(name).eval()
    crops = torch.from_numpy(pixels(4, side_of(backbone)))
    with torch.inference_mode():
        before = backbone(crops)
        after = backbone.fuse()(crops)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert (before - after).abs().max() <= 0.01 * before.abs().max()
    for parameter in backbone.parameters():
        if parameter.dim() > 1:
            assert torch.equal(parameter, parameter.half().float())
