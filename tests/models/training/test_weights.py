import io
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

import onnxruntime as ort
import torch
from PIL import Image

from models import recipes
from models.bundle import Bundle
from models.manifest import WEIGHTS
from models.networks.registry import build
from models.training import weights
from models.training.progress import Listener
from models.training.scoring import Scoring
from models.training.train import train
from stream.errors import BundleInvalid, ConfigurationError
from tests.models.training import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("pictures") / "folder")


@pytest.fixture(scope="module")
def bundle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = train([data], tmp_path_factory.mktemp("out") / "bundle", tiny.recipe(), threads=1)
    assert made is not None
    return made


class _Losses(Listener):
    """Notes the loss of every step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def advance(self, step: int = 1, note: str = "") -> None:
        if note.startswith("loss"):
            self.found.append(float(note.removeprefix("loss ")))


def test_a_run_that_goes_on_from_a_bundle_begins_at_its_loss(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    scratch, warm = _Losses(), _Losses()
    train([data], tmp_path / "scratch", tiny.recipe(seed=3), threads=1, listener=scratch)
    # Another seed: other batches and other random weights, so what is alike comes from the bundle.
    grown = train([data], tmp_path / "warm", tiny.recipe(seed=3), start=bundle, threads=1, listener=warm)
    assert grown is not None
    assert np.mean(warm.found[:2]) < (np.mean(scratch.found[:2]) + np.mean(scratch.found[-5:])) / 2
    assert grown.manifest.start == bundle.digest
    assert bundle.manifest.start is None
    assert f"from the weights of the bundle `{bundle.digest}`" in grown.files["MODEL_CARD.md"].decode()


def test_a_bundle_keeps_the_very_network_that_was_trained(bundle: Bundle) -> None:
    torch.manual_seed(9)
    plan = tiny.recipe()
    net = Scoring(build(plan.architecture, None, **plan.options))
    weights.restore(net, bundle, plan)
    again = Scoring(build(plan.architecture, None, **plan.options))
    weights.restore(again, Bundle.build(bundle.manifest, {**without(bundle), WEIGHTS: weights.pack(net, plan)}), plan)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items())
    crops = torch.from_numpy(np.stack([
        np.asarray(Image.open(io.BytesIO(tiny.picture(seed, machine_made=seed > 3))))[:16, :16] for seed in range(8)
    ]))  # fmt: skip
    with torch.no_grad():
        logits = net.eval()(crops).numpy()
    session = ort.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    assert logits == pytest.approx(session.run(["logit"], {"crops": crops.numpy()})[0], abs=0.02)


def without(bundle: Bundle, *names: str) -> dict[str, bytes]:
    return {name: data for name, data in bundle.files.items() if name not in ("manifest.json", *names)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {**tiny.recipe().options, "mirrored": True}}, "the bundle's weights are of"),
        ({"architecture": "forensic-small", "options": {}}, "the bundle's weights are of"),
        (None, "keeps no weights"),
    ],
)
def test_weights_that_a_recipe_cannot_go_on_from_are_refused_with_a_remedy(
    bundle: Bundle, data: Path, tmp_path: Path, changes: dict[str, object] | None, words: str
) -> None:
    start = bundle if changes else Bundle.build(bundle.manifest, without(bundle, WEIGHTS))
    with pytest.raises(ConfigurationError, match=words) as caught:
        train([data], tmp_path / "out", tiny.recipe(**(changes or {})), start=start, threads=1)
    assert "VERISTREAM_RETRAIN__START=recipe" in caught.value.remedy
    broken = Bundle.build(bundle.manifest, {**without(bundle), WEIGHTS: b"PK\x03\x04 and no more"})
    with pytest.raises(BundleInvalid, match=r"weights\.npz cannot be read"):
        weights.check(broken, tiny.recipe())
    with pytest.raises(ConfigurationError, match="one set of weights"):
        train([data], tmp_path / "out", tiny.recipe(), start=start, weights=tmp_path)
    with pytest.raises(ConfigurationError, match="head on frozen features"):
        weights.check(bundle, recipes.Frozen(name="tiny", version="1"))
