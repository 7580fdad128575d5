"""Floor 3: triggers, datasets, the gate and the rollout of a new model."""
