"""A bundle whose features are the mean colours of a crop's sixteenths, and pictures that its head knows or does not."""

import io
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from models.adaptation import replay
from models.bundle import Bundle
from models.manifest import CALIBRATION, CARD, MODEL, REPLAY, InputSpec
from tests.models.tiny import CALIBRATED, tiny_manifest

SIZE, WIDTH, DIMENSIONS = 32, 48, 6


def graph(*, without: str = "") -> onnx.ModelProto:
    """What `models.networks.detector` exports, with a pooling in the network's place."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Sub", ["flat", "centre"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["standard"]),
        helper.make_node("Clip", ["standard", "low", "high"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["product"]),
        helper.make_node("Squeeze", ["product", "axis"], ["squeezed"]),
        helper.make_node("Add", ["squeezed", "bias"], ["logit"]),
        helper.make_node("MatMul", ["features", "projection"], ["embedding"]),
    ]
    weight = np.zeros((WIDTH, 1), np.float32)
    weight[:4] = 1.0  # the known generator brightens the first row's red
    projection = np.concatenate([weight, rng.normal(size=(WIDTH, DIMENSIONS - 1))], 1).astype(np.float32)
    constants = {
        "centre": np.full(WIDTH, 128, np.float32),
        "scale": np.full(WIDTH, 20, np.float32),
        "low": np.array(-6, np.float32),
        "high": np.array(6, np.float32),
        "weight": weight,
        "axis": np.array([1], np.int64),
        "bias": np.array(0.0, np.float32),
        "projection": projection,
    }
    outputs = {"logit": ["n"], "embedding": ["n", DIMENSIONS], "features": ["n", WIDTH]}
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
            if name != without
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def colours(rng: np.random.Generator, count: int, kind: str) -> np.ndarray:
    """Mean colours of 4 × 4 tiles, ``[count, 4, 4, 3]``, of kind real or fake, or real2 or fake2 of a new place."""
    tiles = 128 + rng.normal(0, 20, (count, 4, 4, 3))
    if kind == "fake":
        tiles[:, 0, :, 0] += 25
    if kind.endswith("2"):
        tiles[:, 3, :, 1] += 40
    if kind == "fake2":
        tiles[:, 2, :, 2] += 30
        tiles[:, 0, :, 0] -= 15
    return tiles.clip(0, 255)


def features(tiles: np.ndarray) -> np.ndarray:
    """What the graph makes of them, ``[count, WIDTH]``."""
    return np.clip((tiles.transpose(0, 3, 1, 2).reshape(len(tiles), -1) - 128) / 20, -6, 6).astype(np.float32)


def memory(seed: int = 1, count: int = 150) -> bytes:
    """A replay of the known pictures."""
    rng = np.random.default_rng(seed)
    kinds = ["real", "real", "fake"]
    rows = np.concatenate([features(colours(rng, count, kind)) for kind in kinds])
    labels = np.repeat([0, 0, 1], count)
    sources = np.repeat(["real/a", "real/b", "fake/c"], count)
    return replay.build(rows, rows[:, :4].sum(1).astype(np.float64), labels, sources, parts=rows.shape[1:], seed=0)


def bundle(*, without: str = "", **files: bytes) -> Bundle:
    """A bundle that can be adapted; ``files`` stand in for its own, ``without`` names an output it lacks."""
    manifest = tiny_manifest(input=InputSpec(size=SIZE, crops=1))
    own = {
        MODEL: graph(without=without).SerializeToString(),
        CALIBRATION: CALIBRATED.to_json(),
        CARD: b"# Tiny\n",
        REPLAY: memory(),
    }
    named = {f"{name}.npz": data for name, data in files.items()}
    return Bundle.build(manifest, {name: data for name, data in {**own, **named}.items() if data})


def png(tiles: np.ndarray) -> bytes:
    """A picture of 4 × 4 mean colours, as large as one crop: the bundle sees all that tells its kind."""
    data = io.BytesIO()
    Image.fromarray(tiles.astype(np.uint8).repeat(8, 0).repeat(8, 1)).save(data, "PNG")
    return data.getvalue()


def folder(path: Path, counts: dict[str, int], seed: int = 5) -> Path:
    """Pictures of ``LABEL/KIND`` as PNG files."""
    rng = np.random.default_rng(seed)
    for source, count in counts.items():
        (path / source).mkdir(parents=True, exist_ok=True)
        for number, tiles in enumerate(colours(rng, count, source.rpartition("/")[2])):
            (path / source / f"{number:03d}.png").write_bytes(png(tiles))
    return path
