"""`veristream models fit-decoders`: learned decoder families from photographs of any size."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from compose.cli import main
from models.reconstruction import reconstruct
from models.reconstruction.autoencoder import Autoencoder
from models.reconstruction.fitting import export, fit
from models.reconstruction.learned import LEARNED, opened, run
from models.reconstruction.losses import distance
from models.reconstruction.twins import psnr
from tests.models.evaluation.collections import folder, picture, zipped
from tests.models.pictures import encoded, gradient


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = [(70, 90), (64, 64), (300, 80), (40, 200)]
    content = {f"real/a/{n}.png": encoded(gradient(*size), "PNG") for n, size in enumerate(sizes)}
    return zipped(tmp_path_factory.mktemp("fitting") / "photos.zip", content)


def test_every_family_is_fitted_used_and_the_same_again(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        arguments = ["--data", str(photos), "--out", str(photos.with_name(name)), "--steps", "3", "--json"]
        assert main(["models", "fit-decoders", *arguments]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["psnr"]) == set(LEARNED)
    pixels = np.asarray(gradient(37, 51))
    for family in LEARNED:
        first, second = (photos.with_name(name) / f"{family}.onnx" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
        made = reconstruct(pixels, family, weights=first.parent)
        assert made.shape == pixels.shape
        assert not np.array_equal(made, reconstruct(pixels, family))


@pytest.mark.parametrize("family", LEARNED)
def test_torch_and_onnx_agree(family: str) -> None:
    net = Autoencoder(family).eval()
    pixels = np.random.default_rng(1).uniform(0, 255, (40, 24, 3)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(pixels[None]))[0].numpy()
    assert run(opened(export(net)), pixels) == pytest.approx(expected, abs=1e-2)  # grey levels


def test_steps_bring_the_picture_closer_and_the_critic_changes_what_is_learned() -> None:
    pictures = [np.asarray(gradient(80, 96)), np.asarray(gradient(64, 64))]

    def reached(steps: int, adversarial: float = 0.0) -> np.ndarray:
        net = fit(pictures, "conv-resize", steps=steps, seed=2, adversarial=adversarial)
        return run(opened(export(net)), pictures[0].astype(np.float32)).clip(0, 255).round().astype(np.uint8)

    early, late, judged = reached(2), reached(40), reached(40, adversarial=0.5)
    assert psnr(pictures[0], late) > psnr(pictures[0], early) + 3
    assert not np.array_equal(late, judged)


def test_the_loss_is_nothing_for_equal_pictures_and_sees_lost_texture() -> None:
    noise = torch.rand(1, 16, 16, 3) * 50
    smooth = noise.mean((1, 2), keepdim=True).expand_as(noise)
    assert float(distance(noise, noise)) == 0
    assert float(distance(smooth, noise)) > 2 * float((smooth - noise).abs().mean())


def test_pictures_that_cannot_be_fitted_on_are_refused(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = photos.parent
    small = zipped(place / "small.zip", {f"real/a/{n}.jpg": picture(n, 0.5, side=32) for n in range(3)})
    broken = folder(place / "broken", {"real/a/1.jpg": b"\xff\xd8\xff no"})
    before = sorted(place.rglob("*"))
    for words, data, *arguments in (
        ("two photographs of at least 64×64", small),
        ("cannot be decoded", broken),
        ("cannot be read", place / "missing.zip"),
        ("no learned decoder family 'nearest'", photos, "--families", "nearest"),
        ("cannot be made", photos, "--steps", "1", "--families", "conv-resize", "--out", str(photos / "under")),
    ):
        assert main(["models", "fit-decoders", "--data", str(data), "--out", str(place / "none"), *arguments]) == 2
        assert words in " ".join(capsys.readouterr().err.split())
        assert sorted(place.rglob("*")) == before
