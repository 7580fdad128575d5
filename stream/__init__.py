"""Floor 1: events, topics, Kafka clients, blobs, Redis state, settings, errors and telemetry."""
