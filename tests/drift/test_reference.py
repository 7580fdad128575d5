import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.divergence import both
from drift.projection import Projection
from drift.reference import Reference
from drift.thresholds import Thresholds
from stream.errors import MalformedEvent, ReferenceInvalid
from tests.drift.worlds import DIGEST, WINDOW, contaminated, reference, usual


@pytest.fixture(scope="module")
def frozen() -> Reference:
    return reference()


def arrays_of(frozen: Reference) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(frozen.to_bytes())) as file:
        return {name: file[name] for name in file.files}


def bytes_of(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


class TestBuild:
    def test_equal_input_gives_equal_bytes_and_another_seed_another_reference(self, frozen):
        assert reference().to_bytes() == frozen.to_bytes()
        assert reference(seed=1).digest != frozen.digest

    def test_says_how_its_thresholds_were_found(self, frozen):
        full = frozen.thresholds[0]
        assert (full.n, full.n_reference, full.n_current) == (1200, 600, WINDOW)
        assert (full.alpha, full.repetitions, full.seed) == (0.01, 200, 0)
        assert full.values.shape == (2, len(frozen.names))
        assert frozen.names == ("component 1", "component 2", "component 3", "component 4", "residual", "score")

    def test_a_small_window_is_judged_by_its_own_size_and_a_tiny_one_not_at_all(self, frozen):
        assert [level.n_current for level in frozen.thresholds] == [200, 100, 50]
        assert frozen.thresholds_for(500) is frozen.thresholds[0]
        assert frozen.thresholds_for(199) is frozen.thresholds[1]
        assert frozen.thresholds_for(49) is None
        assert (frozen.thresholds[2].values > frozen.thresholds[0].values).all()

    def test_few_embeddings_make_a_smaller_reference_and_too_few_none(self):
        assert len(reference(n=500).vectors) == 300
        with pytest.raises(ReferenceInvalid, match="299 embeddings are too few"):
            reference(n=299)

    def test_a_score_for_each_embedding_is_needed(self):
        vectors, scores = usual(900, seed=0)
        with pytest.raises(ReferenceInvalid, match="one finite score"):
            Reference.build(vectors, scores[1:], model_digest=DIGEST, window=WINDOW, seed=0)

    def test_embeddings_that_are_not_finite_or_of_another_model_are_refused(self, frozen):
        vectors, scores = usual(300, seed=5)
        with pytest.raises(MalformedEvent, match=r"\(300, 11\)"):
            frozen.columns(vectors[:, 1:], scores)
        vectors[7, 3] = np.inf
        with pytest.raises(MalformedEvent, match="not finite"):
            frozen.columns(vectors, scores)


class TestRead:
    def test_what_was_written_is_read(self, frozen):
        read = Reference.read(frozen.to_bytes(), model_digest=DIGEST)
        assert read.digest == frozen.digest
        assert read.window == WINDOW
        np.testing.assert_array_equal(read.thresholds[1].values, frozen.thresholds[1].values)
        vectors, scores = usual(50, seed=9)
        np.testing.assert_array_equal(read.columns(vectors, scores), frozen.columns(vectors, scores))

    def test_another_models_reference_is_refused(self, frozen):
        with pytest.raises(ReferenceInvalid, match=f"of model {DIGEST}, not of bbb"):
            Reference.read(frozen.to_bytes(), "bundle", model_digest="b" * 64)

    def test_a_reference_out_of_a_bundle_is_that_bundle_s(self, frozen):
        own = Reference.read(dataclasses.replace(frozen, model_digest="").to_bytes(), model_digest=DIGEST)
        assert own.model_digest == DIGEST
        assert own.digest == frozen.digest

    @given(st.binary(max_size=200))
    def test_nonsense_is_refused(self, data):
        with pytest.raises(ReferenceInvalid):
            Reference.read(data)

    def test_one_of_an_earlier_format_is_refused_with_what_to_do(self, frozen):
        earlier = bytes_of(arrays_of(frozen) | {"format": np.array(2)})
        with pytest.raises(ReferenceInvalid, match="format 2 is not 3") as caught:
            Reference.read(earlier, "bundle")
        assert "veristream models reference" in caught.value.remedy

    def test_a_pickle_is_refused(self, frozen):
        arrays = arrays_of(frozen) | {"scores": np.array([object()] * 600)}
        with pytest.raises(ReferenceInvalid, match="cannot be read"):
            Reference.read(bytes_of(arrays))

    @given(data=st.data())
    def test_arrays_that_do_not_fit_are_refused(self, frozen, data):
        arrays = arrays_of(frozen)
        name = data.draw(st.sampled_from(sorted(arrays.keys() - {"model_digest"})))
        spoilt = data.draw(st.sampled_from(["missing", "shorter", "flat", "text", "not finite"]))
        found = arrays.pop(name)
        if spoilt == "shorter":
            arrays[name] = found[..., :-1] if found.shape else np.array(7)
            if name == "strangeness":
                arrays[name] = found[::-1]
        elif spoilt == "flat":
            arrays[name] = np.array(99)
        elif spoilt == "text":
            arrays[name] = np.full(found.shape, "x")
        elif spoilt == "not finite":
            arrays[name] = np.full(found.shape, np.nan)
        with pytest.raises(ReferenceInvalid, match="nowhere"):
            Reference.read(bytes_of(arrays), where="nowhere")


class TestProjection:
    def test_components_and_residual_hold_the_whole_distance_from_the_centre(self):
        vectors, _ = usual(400, seed=2)
        columns = Projection.fit(vectors, components=4, clipped=0.0).apply(vectors)
        lengths = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
        np.testing.assert_allclose(np.linalg.norm(columns, axis=1), lengths, rtol=1e-4)
        assert (np.diff(columns[:, :4].var(axis=0)) < 0).all()

    def test_an_outlier_stays_within_the_reference_s_bounds(self):
        projection = Projection.fit(usual(400, seed=2)[0], components=4)
        far = projection.apply(np.full((1, 12), 1e4, np.float32))
        assert ((far == projection.low) | (far == projection.high)).all()

    def test_there_are_no_more_components_than_the_embedding_has_numbers(self):
        projection = Projection.fit(usual(400, seed=2, dimensions=3)[0], components=8)
        assert projection.names == ("component 1", "component 2", "component 3", "residual")


class TestThresholds:
    def test_unchanged_windows_exceed_about_as_often_as_alpha_says(self):
        vectors, scores = usual(30_000, seed=4)
        frozen = Reference.build(
            vectors[:5000], scores[:5000], model_digest=DIGEST, window=WINDOW, seed=4, alpha=0.05, repetitions=400
        )
        own = frozen.own_columns()
        fresh = frozen.columns(vectors[5000:], scores[5000:]).reshape(-1, WINDOW, own.shape[1])
        exceeded = sum(frozen.thresholds[0].exceeded(both(own, window)).any() for window in fresh)
        assert exceeded / len(fresh) < 0.15

    def test_something_new_exceeds(self, frozen):
        window = frozen.columns(*contaminated(WINDOW, seed=6, share=0.3))
        assert frozen.thresholds[0].exceeded(both(frozen.own_columns(), window)).any()

    def test_a_column_that_never_varies_is_never_exceeded_by_itself(self):
        columns = np.random.default_rng(0).normal(size=(400, 2))
        columns[:, 1] = 1.0
        level = Thresholds.calibrate(
            columns, [columns] * 2, n_reference=200, n_current=100, repetitions=200, alpha=0.05
        )
        assert not level.exceeded(both(columns[:200], columns[200:300]))[:, 1].any()

    @pytest.mark.parametrize(("n_current", "alpha", "what"), [(300, 0.05, "cannot be split"), (50, 1e-6, "tell")])
    def test_what_cannot_be_calibrated_is_refused(self, n_current, alpha, what):
        with pytest.raises(ReferenceInvalid, match=what):
            Thresholds.calibrate(
                np.zeros((400, 2)),
                [np.zeros((400, 2))] * 2,
                n_reference=200,
                n_current=n_current,
                repetitions=200,
                alpha=alpha,
            )


class TestDiscrepancy:
    def test_a_small_shift_of_everything_exceeds_its_threshold_and_no_shift_does_not(self, frozen):
        shadow = frozen.discrepancy
        vectors, _ = usual(WINDOW, seed=7)
        assert shadow.of(vectors) < shadow.threshold(WINDOW) < shadow.of(vectors + 0.5)
        assert shadow.threshold(49) is None
