"""Train the learned decoders: one small autoencoder for each way of upsampling, a minute or so each on one core."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from models.reconstruction.learned import LEARNED
from models.training.onnxexport import trace
from stream.errors import ConfigurationError

_WIDTH = 16
_CODE = 24
_CROP = 64
_BATCH = 8


class Autoencoder(nn.Module):
    """Encoder of two strided convolutions (a quarter of the side) and one of three upsampling decoders.

    Takes and returns float32 ``[N, H, W, 3]`` within 0..255.
    """

    def __init__(self, family: str) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, _WIDTH, 4, 2, 1), nn.ReLU(), nn.Conv2d(_WIDTH, _CODE, 4, 2, 1), nn.Tanh()
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(_CODE, _WIDTH, 3, 1, 1), nn.ReLU(), *_upsampling(family, _WIDTH, _WIDTH), nn.ReLU(),
            *_upsampling(family, _WIDTH, 3),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        """Reconstruct a batch."""
        scaled = pixels.permute(0, 3, 1, 2) / 127.5 - 1
        decoded: Tensor = self.decoder(self.encoder(scaled))
        return (decoded + 1).permute(0, 2, 3, 1) * 127.5


def _upsampling(family: str, inputs: int, outputs: int) -> list[nn.Module]:
    if family == "conv-transposed":
        return [nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)]
    if family == "conv-shuffle":
        return [nn.Conv2d(inputs, outputs * 4, 3, 1, 1), nn.PixelShuffle(2)]
    return [nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False), nn.Conv2d(inputs, outputs, 3, 1, 1)]


def fit(
    pictures: NDArray[np.uint8],
    family: str,
    *,
    steps: int = 1200,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Autoencoder:
    """Train one autoencoder on L1 distance.

    Args:
        pictures: uint8 ``[N, H, W, 3]``, sides at least 64.
        family: One of `models.reconstruction.learned.LEARNED`.
        steps: Batches of eight 64-pixel crops.
        seed: Initial weights and crops.
        progress: Called now and then with the step and the loss in grey levels.

    Returns:
        The trained network, in evaluation mode.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Autoencoder(family)
    optimiser = torch.optim.AdamW(net.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    height, width = pictures.shape[1:3]
    for step in range(steps):
        chosen = rng.integers(len(pictures), size=_BATCH)
        tops, lefts = rng.integers(height - _CROP + 1, size=_BATCH), rng.integers(width - _CROP + 1, size=_BATCH)
        crops = [pictures[n, t : t + _CROP, x : x + _CROP] for n, t, x in zip(chosen, tops, lefts, strict=True)]
        batch = torch.from_numpy(np.stack(crops)).float()
        loss = (net(batch) - batch).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress is not None and step % 100 == 0:
            progress(step, float(loss.detach()))
    return net.eval()


def export(net: Autoencoder, path: Path) -> None:
    """Write the autoencoder as one ONNX file: ``pixels`` float32 ``[1, H, W, 3]`` in and out."""
    free = {1: "h", 2: "w"}
    example = torch.zeros(1, _CROP, _CROP, 3)
    path.write_bytes(trace(net, example, "pixels", ["decoded"], {"pixels": free, "decoded": free}))


def fit_all(pictures: NDArray[np.uint8], folder: Path, *, steps: int = 1200, seed: int = 0) -> list[Path]:
    """Train and write every learned family.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, family in enumerate(LEARNED):
        path = folder / f"{family}.onnx"
        export(fit(pictures, family, steps=steps, seed=seed + number), path)
        written.append(path)
    return written


def fit_zip(path: Path, folder: Path, *, steps: int = 1200, seed: int = 0) -> list[Path]:
    """`fit_all` on the authentic pictures (``real/…``) of a zip, all of one size.

    Raises:
        ConfigurationError: not a zip, no authentic picture, or pictures of several sizes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.startswith("real/") and name.endswith(".jpg"))
            images = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"The pictures cannot be read: {error}", where=str(path)) from error
    if len({image.shape for image in images}) != 1:
        raise ConfigurationError(
            "Pictures under real/ of one size are needed", where=str(path), remedy="Use `veristream scenes export`."
        )
    return fit_all(np.stack(images), folder, steps=steps, seed=seed)
