"""The classify worker: uploads in, verdicts out."""
