"""The contract as files: one JSON Schema per JSON event, and ``asyncapi.yaml``. `stream.schemas` generates them."""
