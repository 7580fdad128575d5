"""What the texture sees, and what it does not."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

import onnxruntime as ort
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.networks.registry import build
from models.networks.texture import Texture
from models.optimisation import graphs
from models.optimisation.quantisation import quantise
from models.training.onnxexport import to_onnx

RNG = np.random.default_rng(11)
SIDE = 64


def noise(strength: float = 4.0) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """A grey noisy plane of three colours, ``[3, SIDE, SIDE]``."""
    return (128 + strength * RNG.normal(size=(3, SIDE, SIDE))).astype(np.float32)


def seen(*pictures: np.ndarray[tuple[int, int, int], np.dtype[np.float32]]) -> np.ndarray[tuple[int, int], np.dtype]:
    with torch.inference_mode():
        return np.asarray(Texture()(torch.from_numpy(np.stack(pictures))).numpy())


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([32, 47, 112]))
def test_it_is_finite_and_as_wide_as_it_says(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    flat = np.full((3, side, side), rng.integers(256), np.float32)
    wild = rng.integers(0, 256, (3, side, side)).astype(np.float32)
    with torch.inference_mode():
        found = Texture()(torch.from_numpy(np.stack([flat, wild]))).numpy()
    assert found.shape == (2, Texture().width)
    assert np.isfinite(found.astype(np.float16)).all()


def test_brightness_says_nothing() -> None:
    plain = noise()
    one, lighter = seen(plain, plain + 40)
    assert np.allclose(one, lighter, atol=0.02)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda x: (x + np.roll(x, 1, 2)) / 2, id="neighbours that agree"),
        pytest.param(lambda x: x + 3 * (np.arange(SIDE) % 2), id="a grid"),
        pytest.param(lambda x: x + 2 * RNG.normal(size=(1, SIDE, 1)), id="rows"),
        pytest.param(lambda x: x + 6 * RNG.normal(size=x.shape), id="more noise"),
        pytest.param(lambda x: x.mean(0, keepdims=True).repeat(3, 0), id="no colour in the noise"),
        pytest.param(lambda x: np.round(x / 8) * 8, id="values snapped to a grid"),
    ],
)
def test_traces_stand_out_from_the_noise(made) -> None:
    usual = seen(*(noise() for _ in range(60)))
    marked = seen(*(made(noise()).astype(np.float32) for _ in range(20)))
    distance = np.abs(marked.mean(0) - usual.mean(0)) / (usual.std(0) + 1e-3)
    assert distance.max() > 4


def test_the_whole_crop_is_measured() -> None:
    net = build("efficientnet_lite0_two_scales", None, blocks=3, near=48, texture=True).fuse()
    crop = RNG.integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.uint8)
    smooth = crop.copy()
    smooth[:, :8] = 128  # outside what is read closely
    width = Texture().width
    with torch.inference_mode():
        one, other = (net(torch.from_numpy(crops))[:, -width:] for crops in (crop, smooth))
    assert not torch.allclose(one, other, atol=0.1)


def test_eight_bits_leave_it_as_it_is() -> None:
    torch.manual_seed(0)
    net = build("efficientnet_lite0_two_scales", None, blocks=3, near=48, texture=True).fuse()
    model = to_onnx(net, SIDE, ["pooled"])
    crops = RNG.integers(0, 256, (6, SIDE, SIDE, 3)).astype(np.uint8)
    small = quantise(model, [crops])
    assert not any("texture." in name for node in graphs.layers(graphs.fold(model)) for name in node.input)
    one, other = (
        ort.InferenceSession(found, providers=["CPUExecutionProvider"]).run(None, {"crops": crops})[0]
        for found in (model, small)
    )
    width = Texture().width
    assert np.allclose(one[:, -width:], other[:, -width:], atol=1e-2)
    assert not np.allclose(one[:, :-width], other[:, :-width], atol=1e-6)
