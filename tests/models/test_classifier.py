import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from models.classifier import Classifier
from models.crops import positions
from models.decode import decode
from models.doubles import FixedClassifier
from models.ports import Scorer
from stream.errors import BundleInvalid, InferenceFailed
from tests.models.pictures import encoded, gradient
from tests.models.tiny import CALIBRATED, CROPS, SIZE, tiny_bundle, tiny_graph


def flat(value: int) -> np.ndarray:
    return np.full((CROPS, SIZE, SIZE, 3), value, dtype=np.uint8)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(tiny_bundle(), provider="cpu")


class TestScores:
    def test_one_picture_from_bytes_to_score(self, classifier):
        picture = decode(encoded(gradient(64, 64), "PNG"))
        prepared = classifier.prepare(picture)
        (score,) = classifier.predict([prepared])
        assert prepared.shape == (CROPS, SIZE, SIZE, 3)
        np.testing.assert_allclose(score.crop_logits, prepared.mean(axis=(1, 2, 3)) / 255, rtol=1e-5)
        assert score.logit == pytest.approx(prepared.mean() / 255, rel=1e-5)
        assert score.p_ai == CALIBRATED.probability(score.logit)
        assert score.verdict == CALIBRATED.verdict(score.p_ai)
        np.testing.assert_allclose(score.embedding, prepared.mean(axis=(0, 1, 2)) / 255, rtol=1e-3)
        assert score.embedding.dtype == np.float16
        assert score.patches is None

    def test_scores_do_not_depend_on_the_batch(self, classifier):
        batch = [flat(value) for value in (0, 100, 255)]
        together = classifier.predict(batch)
        for prepared, score in zip(batch, together, strict=True):
            (alone,) = classifier.predict([prepared])
            assert alone.logit == pytest.approx(score.logit)
            np.testing.assert_array_equal(alone.embedding, score.embedding)
        assert [score.verdict for score in together] == ["authentic", "uncertain", "ai_generated"]

    def test_an_empty_batch_has_no_scores(self, classifier):
        assert classifier.predict([]) == []

    def test_a_patch_map_is_handed_on(self):
        model = tiny_graph()
        model.graph.node.append(helper.make_node("ReduceMean", ["scaled", "last"], ["patches"], keepdims=0))
        model.graph.initializer.append(helper.make_tensor("last", TensorProto.INT64, [1], [3]))
        model.graph.output.append(helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["n", SIZE, SIZE]))
        (score,) = Classifier.load(tiny_bundle(model), provider="cpu").predict([flat(51)])
        assert score.patches is not None
        np.testing.assert_allclose(score.patches, np.full((CROPS, SIZE, SIZE), 0.2), rtol=1e-5)

    def test_it_says_what_it_is(self, classifier):
        bundle = tiny_bundle()
        assert (classifier.name, classifier.version, classifier.digest) == ("tiny", "1", bundle.digest)
        assert (classifier.provider, classifier.precision) == ("CPUExecutionProvider", "fp32")
        assert classifier.thresholds == CALIBRATED.threshold_ids
        assert classifier.boxes(100, 50) == positions(100, 50, SIZE, CROPS)


class TestFailures:
    def test_numbers_that_are_not_finite_fail_at_load(self):
        with pytest.raises(BundleInvalid, match=r"blank picture: .* is not finite"):
            Classifier.load(tiny_bundle(tiny_graph(scale=float("inf"))), provider="cpu")

    def test_a_bad_number_fails_the_batch_and_spares_its_halves(self):
        classifier = Classifier.load(tiny_bundle(tiny_graph(scale=3e38)), provider="cpu")
        with pytest.raises(InferenceFailed, match="not finite"):
            classifier.predict([flat(0), flat(255)])
        assert len(classifier.predict([flat(0)])) == 1

    def test_an_embedding_beyond_float16_fails_the_batch(self):
        classifier = Classifier.load(tiny_bundle(tiny_graph(scale=1e3)), provider="cpu")
        with pytest.raises(InferenceFailed, match="float16"):
            classifier.predict([flat(255)])

    @pytest.mark.parametrize(
        ("model", "says"),
        [
            (tiny_graph(logit="score"), "'logit'"),
            (tiny_graph(taken=TensorProto.FLOAT), "tensor\\(float\\)"),
            (tiny_graph(size=16), "fails on a blank picture"),
        ],
        ids=["no logit", "floats in", "another size"],
    )
    def test_a_model_that_breaks_the_agreement_is_refused_at_load(self, model, says):
        with pytest.raises(BundleInvalid, match=says):
            Classifier.load(tiny_bundle(model), provider="cpu")

    def test_a_logit_of_another_shape_is_refused_at_load(self):
        model = tiny_graph()
        model.graph.node[3].attribute[0].i = 1
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
        with pytest.raises(BundleInvalid, match=r"logit has shape \(4, 1\)"):
            Classifier.load(tiny_bundle(model), provider="cpu")


def test_a_classifier_lets_its_bundle_go():
    bundle = tiny_bundle(tiny_graph())
    kept = sys.getrefcount(bundle)
    classifier = Classifier.load(bundle, provider="cpu")
    assert sys.getrefcount(bundle) == kept
    assert (classifier.digest, classifier.version) == (bundle.digest, bundle.manifest.version)


class TestDouble:
    def test_both_fit_the_port(self, classifier):
        scorers: list[Scorer] = [classifier, FixedClassifier(size=SIZE, count=CROPS)]
        picture = decode(encoded(gradient(), "JPEG"))
        for scorer in scorers:
            (score,) = scorer.predict([scorer.prepare(picture)])
            assert 0 < score.p_ai < 1
            assert len(score.crop_logits) == len(scorer.boxes(picture.width, picture.height)) == CROPS

    @pytest.mark.parametrize(
        ("p", "verdict"), [(0.0, "authentic"), (0.5, "uncertain"), (0.9, "ai_generated"), (1.0, "ai_generated")]
    )
    def test_the_rule_decides(self, p, verdict):
        (score,) = FixedClassifier(lambda _: p, dim=4).predict([flat(0)])
        assert (score.p_ai, score.verdict, score.embedding.shape) == (p, verdict, (4,))
        assert np.isfinite(score.logit)

    def test_one_failing_picture_fails_its_batch(self):
        double = FixedClassifier(failing=lambda prepared: prepared.max() == 13)
        with pytest.raises(InferenceFailed, match="among 3"):
            double.predict([flat(0), flat(13), flat(0)])
        assert len(double.predict([flat(0), flat(0)])) == 2
        assert double.batches == [3, 2]


def test_serving_imports_nothing_heavy():
    code = (
        "import sys, models.classifier, models.doubles; "
        "print({'torch','onnx','pandas','scipy','sklearn','evidently','faust','fastapi'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
