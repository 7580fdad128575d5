import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from models.calibration import Calibration, Threshold, Thresholds, expected_calibration_error, fit
from stream.errors import BundleInvalid, ModelError
from tests.models.tiny import CALIBRATED


def sample(seed: int = 0, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true probability is sigmoid(2·logit − 1)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.5, 1.5, n)
    return logits, (rng.random(n) < 1 / (1 + np.exp(1 - 2 * logits))).astype(int)


class TestFit:
    def test_it_finds_the_numbers_the_labels_were_drawn_with(self):
        fitted = fit(*sample(n=40_000), on="drawn")
        assert fitted.a == pytest.approx(2, abs=0.1)
        assert fitted.b == pytest.approx(-1, abs=0.1)

    def test_it_agrees_with_a_logistic_regression(self):
        logits, labels = sample()
        other = LogisticRegression(C=1e9).fit(logits[:, None], labels)
        fitted = fit(logits, labels, on="drawn")
        assert fitted.a == pytest.approx(other.coef_[0, 0], rel=0.01)
        assert fitted.b == pytest.approx(other.intercept_[0], rel=0.02)

    @settings(deadline=None)
    @given(st.integers(0, 2**32), st.integers(8, 60), st.floats(-3, 3))
    def test_the_fit_is_the_optimum_however_the_logits_lie(self, seed, n, exponent):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(n) % 3 == 0).astype(int)
        logits = rng.normal(size=n) * 10 ** rng.uniform(-1, 1, n) + 3 * labels
        logits *= 10**exponent
        assume(np.corrcoef(logits, labels)[0, 1] > 0.1)
        fitted = fit(logits, labels, on="drawn")
        positives, negatives = labels.sum(), n - labels.sum()
        targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
        residual = np.array([fitted.probability(logit) for logit in logits]) - targets
        assert abs(residual.sum()) < 1e-5
        assert abs((residual * logits).sum()) < 1e-5 * np.abs(logits).max()

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
    def test_the_size_of_the_logits_does_not_matter(self, scale):
        logits, labels = sample()
        assert fit(logits * scale, labels, on="drawn").a * scale == pytest.approx(fit(logits, labels, on="drawn").a)

    @pytest.mark.parametrize(("above", "below"), [(0.01, 0.05), (0.001, 0.001), (0.2, 0.1)])
    def test_both_thresholds_hold_their_rates(self, above, below):
        logits, labels = sample(1)
        fitted = fit(logits, labels, on="drawn", false_positive_rate=above, false_negative_rate=below)
        verdicts = np.array([fitted.verdict(fitted.probability(logit)) for logit in logits])
        false_positive = np.mean(verdicts[labels == 0] == "ai_generated")
        false_negative = np.mean(verdicts[labels == 1] == "authentic")
        assert false_positive <= above
        assert false_negative <= below
        assert fitted.thresholds.ai_above.rate == pytest.approx(false_positive)
        assert fitted.thresholds.authentic_below.rate == pytest.approx(false_negative)
        assert fitted.thresholds.ai_above.pictures == (labels == 0).sum()

    def test_classes_that_do_not_overlap_leave_one_threshold_between_them(self):
        fitted = fit([-3, -2, -1, 1, 2, 3], [0, 0, 0, 1, 1, 1], on="toy")
        low, high = fitted.thresholds.authentic_below, fitted.thresholds.ai_above
        assert low.value == high.value
        assert (low.rate, high.rate) == (0, 0)
        assert fitted.verdict(fitted.probability(-1)) == "authentic"
        assert fitted.verdict(fitted.probability(1)) == "ai_generated"

    def test_pictures_that_all_look_alike_are_refused(self):
        with pytest.raises(ModelError, match="backwards"):
            fit([1.0] * 10, [0, 1] * 5, on="toy")

    @pytest.mark.parametrize(
        ("logits", "labels", "says"),
        [
            ([1, 2, 3], [0, 1], "two equal, filled rows"),
            ([], [], "two equal, filled rows"),
            ([[1, 2]], [[0, 1]], "two equal, filled rows"),
            ([1, math.nan, 2, 3], [0, 0, 1, 1], "finite"),
            ([1, 2, 3, 4], [0, 0, 1, 2], "0 or 1"),
            ([1, 2, 3], [0, 0, 1], "at least 2"),
            ([3, 2, 1, 0], [0, 0, 1, 1], "backwards"),
        ],
    )
    def test_what_cannot_be_fitted_is_refused(self, logits, labels, says):
        with pytest.raises(ModelError, match=says):
            fit(logits, labels, on="toy")


class TestCalibration:
    @given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
    def test_a_higher_logit_is_never_less_likely(self, one, other):
        low, high = sorted((one, other))
        assert 0 <= CALIBRATED.probability(low) <= CALIBRATED.probability(high) <= 1

    @pytest.mark.parametrize(
        ("p", "verdict"),
        [
            (0.0, "authentic"),
            (0.3, "uncertain"),
            (0.5, "uncertain"),
            (0.7, "uncertain"),
            (0.71, "ai_generated"),
        ],
    )
    def test_a_threshold_itself_is_uncertain(self, p, verdict):
        assert CALIBRATED.verdict(p) == verdict

    def test_it_survives_its_file(self):
        fitted = fit(*sample(), on="drawn")
        assert Calibration.from_json(fitted.to_json()) == fitted

    def test_its_threshold_names_are_the_events(self):
        assert CALIBRATED.threshold_ids.ai_above == "fpr-0.01"

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            (b'"a": 4.0', b'"a": -4.0', "a: Input should be greater"),
            (b'"a": 4.0', b'"a": NaN', "a: "),
            (b'"platt"', b'"isotonic"', "kind"),
            (b'"value": 0.3', b'"value": 0.8', "authentic_below lies above"),
            (b"{", b"", "Invalid JSON"),
        ],
    )
    def test_a_file_that_cannot_be_meant_is_refused(self, old, new, says):
        data = CALIBRATED.to_json()
        assert old in data
        with pytest.raises(BundleInvalid, match=says):
            Calibration.from_json(data.replace(old, new, 1))

    def test_thresholds_cannot_cross(self):
        low = Threshold(id="low", value=0.2, rate=0, on="toy", pictures=1)
        high = Threshold(id="high", value=0.8, rate=0, on="toy", pictures=1)
        with pytest.raises(ValueError, match="lies above"):
            Thresholds(authentic_below=high, ai_above=low)


class TestExpectedCalibrationError:
    def test_it_is_the_weighted_gap_of_the_bins(self):
        p = [0.1, 0.1, 0.1, 0.1, 0.9, 0.9]
        assert expected_calibration_error(p, [1, 0, 0, 0, 1, 1]) == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)

    def test_certainty_that_is_right_costs_nothing(self):
        assert expected_calibration_error([0.0, 1.0], [0, 1]) == 0

    def test_fitting_lowers_it(self):
        logits, labels = sample(3)
        fitted = fit(logits, labels, on="drawn")
        held_logits, held = sample(4)
        calibrated = [fitted.probability(logit) for logit in held_logits]
        raw = 1 / (1 + np.exp(-held_logits))
        assert expected_calibration_error(calibrated, held) < 0.03
        assert expected_calibration_error(calibrated, held) < expected_calibration_error(raw, held)
