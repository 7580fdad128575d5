from collections.abc import Iterator

import pytest

from tests.retrain.mlflow import MLflow


@pytest.fixture
def mlflow() -> Iterator[MLflow]:
    """A small MLflow server on a real socket."""
    server = MLflow()
    yield server
    server.close()
