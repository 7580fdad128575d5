"""What every network has in common: crops in, features out, and where training may reach.

A backbone holds no head. It normalises its own input, so that one file serves alone, and it says which of its features
are the means of a spatial map, so that a linear head's score can be told apart by place.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

_LARGEST_HALF = 65504.0
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Part(NamedTuple):
    """One kind of features.

    Attributes:
        width: How many there are.
        say: In an embedding: their variance in sum, before its directions are chosen.
    """

    width: int
    say: float = 1.0


class Backbone(nn.Module):
    """uint8 crops ``[N, S, S, 3]`` to float32 features ``[N, width]``.

    A subclass sets `width` and implements `forward`.

    Args:
        mean: Of red, green and blue in 0..1, taken off by `normalise`.
        deviation: What they are divided by.

    Attributes:
        width: How many features there are.
        side: The one crop side it takes, pixels; None where any will do.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, deviation: Sequence[float] = IMAGENET_DEVIATION) -> None:
        super().__init__()
        self.width = 0
        self.side: int | None = None
        self._trains = True
        self._norms_train = True
        self.register_buffer("mean", torch.tensor(mean).mul(255).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).mul(255).view(1, 3, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """uint8 ``[N, S, S, 3]`` to float32 ``[N, width]``."""
        raise NotImplementedError

    @property
    def parts(self) -> tuple[Part, ...]:
        """The kinds of features there are, in order."""
        return (Part(self.width),)

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the kinds of features."""
        return tuple(part.width for part in self.parts)

    def normalise(self, crops: Tensor) -> Tensor:
        """uint8 ``[N, S, S, 3]`` to float32 ``[N, 3, S, S]``, mean and deviation taken out."""
        return (crops.permute(0, 3, 1, 2).float() - self.mean) / self.deviation

    def stages(self) -> Sequence[nn.Module]:
        """Its parts from input to output, for `thaw`; all parameters lie in one of them."""
        return [self]

    def freeze(self) -> Self:
        """Takes every parameter out of training and stays in evaluation mode, whatever a trainer sets around it."""
        self._trains = False
        return self.requires_grad_(False).eval()

    def thaw(self, last: int | None = None) -> Self:
        """Gives parameters to training.

        Args:
            last: Only the last so many `stages`; None for all.
        """
        self.requires_grad_(False)
        chosen = list(self.stages())[-last:] if last else ([] if last == 0 else [self])
        for stage in chosen:
            stage.requires_grad_(True)
        self._trains = True
        return self.train()

    def freeze_norms(self) -> Self:
        """Keeps every batch norm's running mean and variance as they are; scales and shifts train on."""
        self._norms_train = False
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As in torch, but for what `freeze` and `freeze_norms` hold in evaluation mode."""
        super().train(mode and self._trains)
        for module in self.modules():
            # A batch norm whose scale does not train sits in a frozen stage, and its statistics must not move either.
            if isinstance(module, _NORMS) and not (self._norms_train and _trains(module)):
                module.eval()
        return self

    def fuse(self) -> Self:
        """Makes it what is shipped, for good: frozen, batch norms folded into convolutions, weights of float16 values.

        Rounded weights are stored as float16 in the ONNX file, which halves it, and lose nothing there.
        """
        self.eval()
        for parent in list(self.modules()):
            _fold(parent)
        for parameter in self.parameters():
            if parameter.dim() > 1 and bool(parameter.abs().max() <= _LARGEST_HALF):
                parameter.data = parameter.data.half().float()
        return self.freeze()


class SpatialBackbone(Backbone):
    """A backbone whose last map keeps the places. A subclass implements `spatial` and sets the attributes.

    Attributes:
        channels: Of the map.
        mapped: Which features are the means of the map's channels: ``features[:, mapped] == maps.mean((2, 3))``.
        by_place: Whether a detector scores each place too: only where the map's means carry much of the score.
    """

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, deviation: Sequence[float] = IMAGENET_DEVIATION) -> None:
        super().__init__(mean, deviation)
        self.channels = 0
        self.mapped = slice(0, 0)
        self.by_place = False

    def spatial(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` and the map ``[N, channels, h, w]``, in one pass."""
        raise NotImplementedError

    def forward(self, crops: Tensor) -> Tensor:
        """uint8 ``[N, S, S, 3]`` to float32 ``[N, width]``."""
        return self.spatial(crops)[0]

    def maps(self, crops: Tensor) -> Tensor:
        """uint8 ``[N, S, S, 3]`` to float32 ``[N, channels, h, w]``."""
        return self.spatial(crops)[1]


class Convolution(nn.Module):
    """Convolution and batch norm, which `Backbone.fuse` makes one.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel.
        stride: Of the convolution.
        groups: Of the convolution.
        pad: Left, right, top, bottom; None for half a kernel on every side.
        epsilon: Of the batch norm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        pad: tuple[int, int, int, int] | None = None,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d(pad) if pad is not None and any(pad) else nn.Identity()
        half = kernel // 2 if pad is None else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, half, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, H, W]`` to ``[N, outputs, h, w]``, with no activation."""
        out: Tensor = self.norm(self.conv(self.pad(x)))
        return out


def moments(x: Tensor) -> Tensor:
    """Mean and standard deviation of every channel over the places: ``[N, C, h, w]`` to ``[N, 2 C]``."""
    mean = x.mean((2, 3), keepdim=True)
    deviation = ((x - mean) ** 2).mean((2, 3)).add(1e-8).sqrt()
    return torch.cat([mean.flatten(1), deviation], 1)


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))


def _fold(parent: nn.Module) -> None:
    """Takes a batch norm that a module declares right behind a convolution into it, as every network here runs them."""
    children = list(parent.named_children())
    for (name, conv), (behind, norm) in itertools.pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(parent, name, nn.utils.fusion.fuse_conv_bn_eval(conv, norm))
            setattr(parent, behind, nn.Identity())
