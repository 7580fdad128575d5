"""One thread: with several, tiny tensors wait for the busy ones among them."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Runs this folder's torch on one thread."""
    torch = pytest.importorskip("torch", reason="networks need the train extra")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
