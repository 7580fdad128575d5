"""The services a demo or a test needs, private to the process that starts them: broker, Redis, one real Kafka node."""
