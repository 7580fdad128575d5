import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="networks need the train extra")
pytest.importorskip("safetensors", reason="networks need the train extra")

import torch
from safetensors import torch as safetensors

from models.networks import hub
from models.networks.registry import ARCHITECTURES, build
from stream.errors import ConfigurationError
from tests.models.networks.small import pixels, side_of, tiny


def features(backbone: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return backbone.eval()(torch.from_numpy(pixels(2, side_of(backbone))))


@pytest.fixture(params=["residual-small", "efficientnet_lite0"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / "weights.safetensors"
    safetensors.save_file(tiny(request.param).state_dict(), path)
    return request.param, path


def test_a_networks_own_state_is_read_back(saved: tuple[str, Path]) -> None:
    name, path = saved
    assert torch.equal(features(build(name, path, **ARCHITECTURES[name].tiny)), features(tiny(name)))


def test_weights_of_another_network_are_refused(saved: tuple[str, Path]) -> None:
    name, path = saved
    with pytest.raises(ConfigurationError, match="belong to another network"):
        build(name, path)
    with pytest.raises(ConfigurationError, match="belong to another network"):
        build("vgg16", path)


def test_broken_and_missing_weights_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x80\x04 a pickle")
    for path in (broken, tmp_path / "none.safetensors"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            build("residual-small", path)
    with pytest.raises(ConfigurationError, match="no weights 'imagenet'"):
        build("residual-small", "imagenet")
    with pytest.raises(ConfigurationError, match="no weights 'imagenett'"):
        build("efficientnet_lite0", "imagenett")


def test_vgg_reads_published_names_and_leaves_the_classifier_out(tmp_path: Path) -> None:
    vgg = tiny("vgg16")
    published = {name: value for name, value in vgg.state_dict().items() if name.startswith("features.")}
    safetensors.save_file({**published, "classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    told = ARCHITECTURES["vgg16"].tiny
    assert torch.equal(features(build("vgg16", tmp_path / "model.safetensors", **told)), features(vgg))
    (tmp_path / "config.json").write_text("{}")
    assert torch.equal(features(build("vgg16", tmp_path, **told)), features(vgg))


@pytest.mark.parametrize(
    ("name", "told", "says"),
    [
        ("efficientnet_lite3", {}, "no architecture 'efficientnet_lite3'"),
        ("residual-small", {"width": 3}, "width: there is no such field"),
        ("residual-small", {"widths": (16, 24), "depths": (1,)}, "equally many"),
        ("efficientnet_lite0", {"blocks": 17}, "has 16 blocks"),
        ("efficientnet_lite0", {"blocks": 2, "taps": (3,)}, "taps after"),
        ("efficientnet_lite0", {"taps": ()}, "at least 1 item"),
        ("forensic-small", {"front": "dct"}, "front"),
        ("vit_b16", {"hidden": 7, "heads": 2}, "heads must divide hidden"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(name: str, told: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        build(name, **told)


def test_an_unknown_name_is_answered_with_a_close_one() -> None:
    with pytest.raises(ConfigurationError) as refused:
        build("efficientnet-lite0")
    assert "'efficientnet_lite0'" in refused.value.remedy


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(hub.importlib, "import_module", absent)
    with pytest.raises(ConfigurationError) as refused:
        build("resnet50")
    assert "veristream[backbones]" in refused.value.remedy


@pytest.fixture(params=["resnet50", "regnet_y", "vit_b16", "clip_linear"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A folder as the hub keeps one, of a tiny network."""
    pytest.importorskip("transformers", reason="it needs the backbones extra")
    tiny(request.param).net.save_pretrained(tmp_path)
    return request.param, tmp_path


def test_a_folder_gives_shape_and_weights(folder: tuple[str, Path]) -> None:
    name, path = folder
    told = {"size": 32} if name in {"vit_b16", "clip_linear"} else {}
    assert torch.allclose(features(build(name, path, **told)), features(tiny(name)), atol=1e-6)
    assert torch.allclose(features(build(name, str(path), **told)), features(tiny(name)), atol=1e-6)
    with pytest.raises(ConfigurationError, match="takes its shape from there"):
        build(name, path, **ARCHITECTURES[name].tiny)
    with pytest.raises(ConfigurationError, match="of type"):
        build("efficientnet_b0", path)


def test_a_folders_normalisation_is_taken_up(folder: tuple[str, Path]) -> None:
    name, path = folder
    told = {"size": 32} if name in {"vit_b16", "clip_linear"} else {}
    (path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}))
    assert build(name, path, **told).mean.flatten().tolist() == pytest.approx([25.5, 51.0, 76.5])
    (path / "preprocessor_config.json").write_text("[")
    with pytest.raises(ConfigurationError, match="normalisation cannot be read"):
        build(name, path, **told)


def test_a_transformer_takes_crops_of_another_side(folder: tuple[str, Path]) -> None:
    name, path = folder
    if name not in {"vit_b16", "clip_linear"}:
        pytest.skip("it takes any side")
    backbone = build(name, path, size=48)
    assert features(backbone).shape == (2, backbone.width)
    with pytest.raises(ConfigurationError, match="do not divide"):
        build(name, path, size=44)


def test_clip_is_taken_out_of_a_folder_of_both_towers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="it needs the backbones extra")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    words = {**shape, "vocab_size": 8, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    both = transformers.CLIPConfig(
        text_config=words, vision_config={**shape, "image_size": 32, "patch_size": 8}, projection_dim=6
    )
    transformers.CLIPModel(both).save_pretrained(tmp_path)
    assert features(build("clip_linear", tmp_path, size=32)).shape == (2, 6)


def test_pickles_and_half_a_folder_are_refused(folder: tuple[str, Path]) -> None:
    name, path = folder
    told = {"size": 32} if name in {"vit_b16", "clip_linear"} else {}
    (weights,) = path.glob("*.safetensors")
    whole = safetensors.load_file(weights)
    left_out = next(key for key, value in whole.items() if value.dim() > 1)
    safetensors.save_file({key: whole[key] for key in whole if key != left_out}, weights, {"format": "pt"})
    with pytest.raises(ConfigurationError, match="not whole"):
        build(name, path, **told)
    weights.write_bytes(b"no tensors")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        build(name, path, **told)
    weights.rename(path / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="does not hold"):
        build(name, path, **told)


def test_what_cannot_be_fetched_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_client = pytest.importorskip("huggingface_hub", reason="it needs the backbones extra")

    def unreachable(name: str, **kwargs: object) -> str:
        raise hub_client.errors.LocalEntryNotFoundError(f"cannot reach the hub for {name}")

    monkeypatch.setattr(hub_client, "snapshot_download", unreachable)
    with pytest.raises(ConfigurationError, match="cannot be fetched: cannot reach the hub for microsoft/resnet-50"):
        build("resnet50", "imagenet")
    with pytest.raises(ConfigurationError, match="no weights"):
        build("resnet50", "somewhere")
