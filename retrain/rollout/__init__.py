"""The rollout: a registered challenger shadows, then speaks for a share, then for all, or is rolled back."""

from retrain.rollout.evidence import Evidence, Limits
from retrain.rollout.trial import Decision, Exposure, Plan, Trial

__all__ = ["Decision", "Evidence", "Exposure", "Limits", "Plan", "Trial"]
