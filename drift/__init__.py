"""Floor 3: windows over the embeddings topic and calibrated alarms."""
