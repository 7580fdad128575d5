"""Floor 3: the upload SDK, backfill and the traffic generator."""
