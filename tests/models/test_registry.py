import pytest

from models.registry import Registry
from stream.blobs import open_store
from stream.doubles import MemoryBlobs
from stream.errors import BlobNotFound, BundleInvalid
from stream.settings import BlobSettings
from tests.models.tiny import tiny_bundle, tiny_graph


@pytest.fixture(params=["folder", "memory"])
def registry(request, tmp_path) -> Registry:
    return Registry(
        MemoryBlobs() if request.param == "memory" else open_store(BlobSettings(store=f"file://{tmp_path}/store"))
    )


def test_a_bundle_comes_back_as_it_went_in(registry):
    bundle = tiny_bundle()
    uri = registry.register(bundle)
    assert uri == registry.uri(bundle.digest) == registry.register(bundle)
    assert uri.endswith(f"bundles/{bundle.digest}/bundle.tar")
    assert registry.open(bundle.digest) == bundle


def test_a_bundle_that_is_missing_or_another_is_said(registry):
    with pytest.raises(BundleInvalid, match=r"no bundle f+ is registered"):
        registry.open("f" * 64)
    bundle, other = tiny_bundle(), tiny_bundle(tiny_graph(scale=1 / 128))
    registry.write(f"bundles/{bundle.digest}/bundle.tar", other.pack(), "application/x-tar")
    with pytest.raises(BundleInvalid, match="digest"):
        registry.open(bundle.digest)


def test_things_lie_beside_a_bundle(registry):
    name = f"bundles/{'a' * 64}/reference.npz"
    with pytest.raises(BlobNotFound):
        registry.read(name)
    assert registry.write(name, b"numbers", "application/octet-stream").endswith(name)
    assert registry.read(name) == b"numbers"
