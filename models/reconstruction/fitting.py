"""Trains the learned decoders: one small autoencoder for each way of upsampling, two minutes or less each on one core.

The files in ``weights/`` are what this makes of simulated scenes, with its defaults:

    veristream scenes export scenes.zip
    veristream models fit-decoders --data scenes.zip --out models/reconstruction/weights

On one kind of processor and one version of torch, equal pictures, options and seed give equal files: it runs on one
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.decode import decode
from models.evaluation.files import write
from models.evaluation.pictures import photographs
from models.reconstruction import passed
from models.reconstruction.autoencoder import Autoencoder, Critic
from models.reconstruction.fixed import Plane
from models.reconstruction.learned import LEARNED, opened, run
from models.reconstruction.losses import distance
from models.reconstruction.twins import psnr
from models.training.onnxexport import trace
from stream.errors import ConfigurationError, ImageError

STEPS = 1500
_CROP, _BATCH = 64, 8
_KEPT_SIDE = 256
_HELD_OUT = 10
_RATE, _CRITIC_RATE = 4e-3, 1e-3
_TRACED = 64

Pixels = NDArray[np.uint8]
Progress = Callable[[str, int], None]


def fit_all(
    data: Sequence[Path],
    folder: Path,
    *,
    families: Sequence[str] = LEARNED,
    steps: int = STEPS,
    seed: int = 0,
    adversarial: float = 0.0,
    progress: Progress = lambda family, step: None,
) -> dict[str, float]:
    """Fits families on photographs of any size and writes one ONNX file each, all of them or none.

    Args:
        data: Zips or folders with ``real/…``; what else they hold is not read.
        folder: Where the files go; it is made where it is missing.
        families: Of `models.reconstruction.learned.LEARNED`.
        steps: Batches of eight 64-pixel crops for each family.
        seed: Decides the crops and the first weights.
        adversarial: Weight of the patch GAN's part of the loss, in its second half; 0 does without.
        progress: Is told the family and its step.

    Returns:
        By family the PSNR in dB on every tenth photograph, which was not fitted on.

    Raises:
        ConfigurationError: Pictures that cannot be used, an unknown family, or a folder that cannot be written to.
    """
    if unknown := [name for name in families if name not in LEARNED]:
        raise ConfigurationError(
            f"there is no learned decoder family {unknown[0]!r}", remedy=f"Choose from {', '.join(LEARNED)}."
        )
    pictures = read(data, seed)
    kept = [picture for number, picture in enumerate(pictures) if number % _HELD_OUT]
    held = pictures[::_HELD_OUT]
    files: dict[Path, str | bytes] = {}
    quality = {}
    for family in families:
        net = fit(kept, family, steps=steps, seed=seed, adversarial=adversarial, progress=progress)
        weights = export(net)
        quality[family] = _quality(weights, held)
        files[folder / f"{family}.onnx"] = weights
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the folder cannot be made: {error.strerror}", where=str(folder)) from error
    write(files)
    return quality


def fit(
    pictures: Sequence[Pixels],
    family: str,
    *,
    steps: int = STEPS,
    seed: int = 0,
    adversarial: float = 0.0,
    progress: Progress = lambda family, step: None,
) -> Autoencoder:
    """Fits one autoencoder; see `fit_all`.

    Args:
        pictures: uint8 ``[H, W, 3]`` each, sides at least 64.
        family: One of `models.reconstruction.learned.LEARNED`.
        steps: Batches of eight crops.
        seed: Decides the crops and the first weights.
        adversarial: Weight of the patch GAN.
        progress: Is told the family and the step.
    """
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        net, critic = Autoencoder(family), Critic()
        optimiser = torch.optim.AdamW(net.parameters(), _RATE)
        judge = torch.optim.AdamW(critic.parameters(), _CRITIC_RATE, betas=(0.5, 0.9))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
        for step in range(steps):
            batch = torch.from_numpy(np.stack([_crop(pictures, rng) for _ in range(_BATCH)])).float()
            decoded = net(batch)
            loss = distance(decoded, batch)
            if adversarial and step >= steps // 2:
                _learn(judge, (1 - critic(batch)).relu().mean() + (1 + critic(decoded.detach())).relu().mean())
                loss = loss - adversarial * critic(decoded).mean()
            _learn(optimiser, loss)
            schedule.step()
            progress(family, step + 1)
    return net.eval()


def export(net: Autoencoder) -> bytes:
    """The autoencoder as an ONNX file: ``pixels`` float32 ``[1, H, W, 3]`` in, ``decoded`` out."""
    free = {1: "h", 2: "w"}
    example = torch.zeros(1, _TRACED, _TRACED, 3)
    return trace(net, example, "pixels", ["decoded"], {"pixels": free, "decoded": free})


def read(data: Sequence[Path], seed: int) -> list[Pixels]:
    """A crop of at most 256 pixels of every photograph, its place drawn by the seed.

    Raises:
        ConfigurationError: No photograph has both sides of at least 64 pixels, or one of them cannot be decoded.
    """
    rng = np.random.default_rng([seed, len(data)])
    found = []
    for collection in photographs(data):
        for item in collection.items():
            try:
                pixels = decode(item.data).pixels
            except ImageError as error:
                where = f"{collection.path}: {item.source}/{item.stem}"
                raise ConfigurationError(f"a photograph cannot be decoded: {error.what}", where=where) from error
            if min(pixels.shape[:2]) >= _CROP:
                found.append(np.ascontiguousarray(_cut(pixels, min(_KEPT_SIDE, *pixels.shape[:2]), rng)))
    if len(found) < 2:  # noqa: PLR2004 - one to fit on, one to measure
        raise ConfigurationError(
            f"two photographs of at least {_CROP}×{_CROP} pixels are needed", where=", ".join(map(str, data))
        )
    return found


def _quality(weights: bytes, pictures: Sequence[Pixels]) -> float:
    """Mean PSNR in dB of pictures passed through an exported autoencoder."""
    session = opened(weights)

    def decoder(padded: Plane, _: np.random.Generator) -> Plane:
        return run(session, padded)

    return float(np.mean([psnr(picture, passed(picture, decoder)) for picture in pictures]))


def _crop(pictures: Sequence[Pixels], rng: np.random.Generator) -> Pixels:
    return _cut(pictures[int(rng.integers(len(pictures)))], _CROP, rng)


def _cut(pixels: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    top, left = (int(rng.integers(length - side + 1)) for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _learn(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same whatever the machine's number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
