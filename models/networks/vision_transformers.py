"""Vision transformers that transformers holds: ViT-B/16, and CLIP's image tower for a linear head.

A. Dosovitskiy et al., arXiv 2010.11929; A. Radford et al., arXiv 2103.00020; a linear head on frozen CLIP features as a
detector: U. Ojha et al., arXiv 2302.10174, and on every block's class token: C. Koutlis and S. Papadopoulos, arXiv
2402.19091.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.networks import hub
from models.networks.architecture import Architecture, Options, Weights
from models.networks.backbone import Backbone, SpatialBackbone
from stream.errors import ConfigurationError

_FREE = {"size", "read"}
_VIT_PUBLISHED = {"imagenet": "google/vit-base-patch16-224"}
_CLIP_PUBLISHED = {"openai": "openai/clip-vit-large-patch14"}
_VIT_NORMALISATION = hub.Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP_NORMALISATION = hub.Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class TransformerOptions(Options):
    """The shape of a vision transformer."""

    size: Annotated[int, Field(ge=16, le=1024, description="Side of a crop, a multiple of the patch")] = 224
    read: Annotated[
        Literal["last", "every"], Field(description="The last block's tokens, or every block's class token as well")
    ] = "last"
    patch: Annotated[int, Field(ge=2, le=64, description="Side of a patch")] = 16
    hidden: Annotated[int, Field(ge=1, description="Numbers of a token")] = 768
    layers: Annotated[int, Field(ge=1, description="Blocks")] = 12
    heads: Annotated[int, Field(ge=1, description="Attention heads, which divide ``hidden``")] = 12
    inner: Annotated[int, Field(ge=1, description="Width of the blocks' inner layer")] = 3072

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError("heads must divide hidden")
        return self


class ClipOptions(TransformerOptions):
    """CLIP's ViT-L/14 as published, unless told otherwise."""

    patch: Annotated[int, Field(ge=2, le=64, description="Side of a patch")] = 14
    hidden: Annotated[int, Field(ge=1, description="Numbers of a token")] = 1024
    layers: Annotated[int, Field(ge=1, description="Blocks")] = 24
    heads: Annotated[int, Field(ge=1, description="Attention heads, which divide ``hidden``")] = 16
    inner: Annotated[int, Field(ge=1, description="Width of the blocks' inner layer")] = 4096
    projection: Annotated[int, Field(ge=1, description="Numbers of the projected feature")] = 768


class VisionTransformer(SpatialBackbone):
    """ViT; the features are the class token and the mean of the patch tokens, after the last norm.

    Args:
        net: transformers' ViT, without its pooler, for crops of one side.
        options: Where features are read.
        normalisation: What it was trained with.
    """

    def __init__(self, net: Any, options: TransformerOptions, normalisation: hub.Normalisation) -> None:
        super().__init__(normalisation.mean, normalisation.deviation)
        self.net = net
        self._every = options.read == "every"
        self.side = options.size
        self._grid = options.size // int(net.config.patch_size)
        self.channels = int(net.config.hidden_size)
        before = int(net.config.num_hidden_layers) - 1 if self._every else 0
        self.width = (before + 2) * self.channels
        self.mapped = slice(self.width - self.channels, self.width)

    def stages(self) -> Sequence[nn.Module]:
        """The embedding and every block; the last norm goes with the last block."""
        *before, last = self.net.layers
        return [self.net.embeddings, *before, nn.ModuleList([last, self.net.layernorm])]

    def spatial(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` and the patch tokens ``[N, hidden, h, w]``."""
        out = self.net(self.normalise(crops), output_hidden_states=self._every)
        tokens = out.last_hidden_state
        before = [state[:, 0] for state in out.hidden_states[1:-1]] if self._every else []
        patches = tokens[:, 1:]
        maps = patches.transpose(1, 2).unflatten(2, (self._grid, self._grid))
        return torch.cat([*before, tokens[:, 0], patches.mean(1)], 1), maps


class ClipVision(Backbone):
    """CLIP's image tower; the features are its projected class token, the image's place beside captions.

    Args:
        net: transformers' image tower with its projection, for crops of one side.
        options: Where features are read.
        normalisation: What it was trained with.
    """

    def __init__(self, net: Any, options: ClipOptions, normalisation: hub.Normalisation) -> None:
        super().__init__(normalisation.mean, normalisation.deviation)
        self.net = net
        self._every = options.read == "every"
        self.side = options.size
        blocks = int(net.config.num_hidden_layers) if self._every else 0
        self.width = int(net.config.projection_dim) + blocks * int(net.config.hidden_size)

    def stages(self) -> Sequence[nn.Module]:
        """The embedding and every block; norm and projection go with the last."""
        tower = self.net.vision_model
        first = nn.ModuleList([tower.embeddings, tower.pre_layrnorm])
        *before, last = tower.encoder.layers
        return [first, *before, nn.ModuleList([last, tower.post_layernorm, self.net.visual_projection])]

    def forward(self, crops: Tensor) -> Tensor:
        """uint8 ``[N, side, side, 3]`` to float32 ``[N, width]``."""
        out = self.net(self.normalise(crops), output_hidden_states=self._every)
        before = [state[:, 0] for state in out.hidden_states[1:]] if self._every else []
        features: Tensor = torch.cat([*before, out.image_embeds], 1) if before else out.image_embeds
        return features


def _vit(options: TransformerOptions, weights: Weights) -> VisionTransformer:
    model, config = hub.modelling("vit", "ViTModel", "ViTConfig")
    normalisation, plain = _VIT_NORMALISATION, {"add_pooling_layer": False}
    if weights is None:
        net = model(config(**_told(options)), **plain)
    else:
        found = _folder("vit_b16", options, weights, _VIT_PUBLISHED)
        net = hub.load(model, found, {"vit"}, **plain)
        normalisation = hub.normalisation(found, normalisation)
    net = _resized("vit_b16", net, options.size, "embeddings.position_embeddings", **plain)
    return VisionTransformer(net, options, normalisation)


def _clip(options: ClipOptions, weights: Weights) -> ClipVision:
    model, config = hub.modelling("clip", "CLIPVisionModelWithProjection", "CLIPVisionConfig")
    normalisation = _CLIP_NORMALISATION
    if weights is None:
        net = model(config(**_told(options), projection_dim=options.projection))
    else:
        found = _folder("clip_linear", options, weights, _CLIP_PUBLISHED)
        # A folder of both towers says how wide their common space is beside the image tower's shape, not within.
        told = {key: value for key, value in hub.config(found).items() if key == "projection_dim"}
        net = hub.load(model, found, {"clip", "clip_vision_model"}, **told)
        normalisation = hub.normalisation(found, normalisation)
    net = _resized("clip_linear", net, options.size, "vision_model.embeddings.position_embedding.weight")
    return ClipVision(net, options, normalisation)


def _told(options: TransformerOptions) -> dict[str, Any]:
    return {
        "image_size": options.size, "patch_size": options.patch, "hidden_size": options.hidden,
        "num_hidden_layers": options.layers, "num_attention_heads": options.heads, "intermediate_size": options.inner,
    }  # fmt: skip


def _folder(name: str, options: TransformerOptions, weights: str | Path, published: dict[str, str]) -> Path:
    hub.refuse_shape(name, options, _FREE)
    return hub.folder(name, weights, published)


def _resized(name: str, net: Any, side: int, table: str, **given: Any) -> Any:
    """The network for crops of another side: its table of places resampled, everything else as it is."""
    patch = int(net.config.patch_size)
    if side % patch:
        what = f"{name} looks at patches of {patch} pixels, which do not divide crops of {side}"
        raise ConfigurationError(what, remedy=f"Give a size that is a multiple of {patch}")
    if net.config.image_size == side:
        return net
    told = copy.deepcopy(net.config)
    told.image_size = side
    other = type(net)(told, **given)
    state = net.state_dict()
    state[table] = _resampled(state[table], side // patch)
    other.load_state_dict(state)
    return other


def _resampled(table: Tensor, grid: int) -> Tensor:
    """Rows of a class token and of a square grid of places, ``[…, 1 + g², D]``, to those of another grid."""
    rows = table.reshape(-1, table.shape[-1])
    was = math.isqrt(len(rows) - 1)
    places = rows[1:].T.reshape(1, -1, was, was)
    resampled = nn.functional.interpolate(places, (grid, grid), mode="bicubic", antialias=True)
    return torch.cat([rows[:1], resampled[0].flatten(1).T]).reshape(*table.shape[:-2], -1, table.shape[-1])


_TINY: dict[str, object] = {"size": 32, "patch": 8, "hidden": 16, "layers": 2, "heads": 2, "inner": 32}
ARCHITECTURES = (
    Architecture(
        "vit_b16", "Vision transformer, base, patches of 16", TransformerOptions, _vit,
        tiny=_TINY, published=_VIT_PUBLISHED,
    ),
    Architecture(
        "clip_linear", "CLIP's image tower, ViT-L/14: features that know many generators", ClipOptions, _clip,
        tiny={**_TINY, "projection": 8}, published=_CLIP_PUBLISHED,
    ),
)  # fmt: skip
