"""Where bundles are kept so that every process finds them: packed, by digest, in the blob store.

bundles/<digest>/bundle.tar      what workers load; never changes
bundles/<digest>/reference.npz   and whatever else is known of a model only after it was made
"""

from models.bundle import MAX_BYTES, Bundle
from stream.errors import BlobNotFound, BundleInvalid
from stream.ports import VersionedStore

_TAR = "application/x-tar"


class Registry:
    """Bundles by digest.

    Args:
        store: Where they lie; workers must be allowed to read it.
    """

    def __init__(self, store: VersionedStore) -> None:
        self.store = store

    def uri(self, digest: str) -> str:
        """Where the packed bundle lies, or would lie."""
        return self.store.uri(_tar(digest))

    def register(self, bundle: Bundle) -> str:
        """Stores a bundle and returns the URI of its tar. Again is the same: equal bundles pack to equal bytes.

        Raises:
            BlobForbidden, BlobUnavailable: It cannot be stored.
        """
        return self.store.write(_tar(bundle.digest), bundle.pack(), media_type=_TAR)

    def open(self, digest: str) -> Bundle:
        """Reads a bundle and checks that it is the one.

        Raises:
            BundleInvalid: It is not registered, or not whole.
            BlobUnavailable: The store does not answer.
        """
        uri = self.uri(digest)
        try:
            data = self.store.read(uri, limit=MAX_BYTES)
        except BlobNotFound as error:
            remedy = "`veristream models promote FOLDER` registers a bundle that is still in a folder"
            raise BundleInvalid(f"no bundle {digest} is registered", where=uri, remedy=remedy) from error
        return Bundle.unpack(data, digest=digest, where=uri)

    def write(self, name: str, data: bytes, media_type: str) -> str:
        """Stores something beside a bundle, such as ``bundles/<digest>/reference.npz``; returns its URI."""
        return self.store.write(name, data, media_type=media_type)

    def read(self, name: str, *, limit: int = MAX_BYTES) -> bytes:
        """Returns what lies under a name.

        Raises:
            BlobNotFound, BlobForbidden, BlobUnavailable: As named.
            ImageTooLarge: More than ``limit`` bytes.
        """
        return self.store.read(self.store.uri(name), limit=limit)


def _tar(digest: str) -> str:
    return f"bundles/{digest}/bundle.tar"
