"""Floor 3: the classify worker and the SDK for those who subscribe to verdicts."""
