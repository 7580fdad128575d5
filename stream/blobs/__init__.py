"""Blobs: pictures too large to travel inline, and this project's own files, by ``file://`` or ``s3://`` URI.

Only what the settings allow can be named: folders, buckets, and the store that this project writes to itself. A URI
comes from outside, so it is a claim to be checked and never a path to be trusted.
"""

import hashlib
from collections.abc import Iterator
from urllib.parse import urlsplit

from stream.blobs.folder import FolderBlobs
from stream.blobs.s3 import S3Blobs, split
from stream.errors import BlobCorrupt, BlobForbidden, ConfigurationError, ImageTooLarge
from stream.events import ImageClaim
from stream.ports import BlobStore, Revised, Stored, VersionedStore
from stream.settings import BlobSettings

__all__ = ["Blobs", "FolderBlobs", "S3Blobs", "open_store", "redeem"]


class Blobs:
    """The `stream.ports.VersionedStore` that the settings describe: each scheme goes to its own store.

    Args:
        folder: Reads ``file://``.
        s3: Reads ``s3://``.
        store: The one of the two that writes; None when no store is configured.
    """

    def __init__(self, folder: FolderBlobs, s3: S3Blobs, store: VersionedStore | None) -> None:
        self._readers: dict[str, VersionedStore] = {"file": folder, "s3": s3}
        self._store = store

    def read(self, uri: str, *, limit: int) -> bytes:
        """Returns the object's bytes, never taking in more than ``limit`` and one.

        Raises:
            BlobNotFound, BlobForbidden, BlobUnavailable: As named.
            ImageTooLarge: More than ``limit`` bytes.
        """
        return self._reader(uri).read(uri, limit=limit)

    def revised(self, uri: str, *, limit: int) -> Revised:
        """Returns the object's bytes with their revision; raises what `read` raises."""
        return self._reader(uri).revised(uri, limit=limit)

    def _reader(self, uri: str) -> VersionedStore:
        scheme = uri.partition(":")[0].lower()
        if scheme not in self._readers:
            raise BlobForbidden(f"the scheme {scheme!r} is not allowed", where=uri, remedy="Use s3:// or file://")
        return self._readers[scheme]

    def write(self, name: str, data: bytes, *, media_type: str) -> str:
        """Stores bytes under a relative name and returns their URI.

        Raises:
            ConfigurationError: No store is configured.
            BlobForbidden, BlobUnavailable: As named.
        """
        return self._writer().write(name, data, media_type=media_type)

    def uri(self, name: str) -> str:
        """Where something of this relative name lies, or would lie; raises what `write` raises."""
        return self._writer().uri(name)

    def replace(self, name: str, data: bytes, *, media_type: str, revision: str | None) -> str:
        """Stores bytes if the object still has this revision; see `stream.ports.VersionedStore`.

        Raises:
            BlobChanged: Another revision is there, or none.
            ConfigurationError, BlobForbidden, BlobUnavailable: As for `write`.
        """
        return self._writer().replace(name, data, media_type=media_type, revision=revision)

    def stored(self, folder: str) -> Iterator[Stored]:
        """Lists what lies below a relative name of the store that is written to; raises what `write` raises."""
        return self._writer().stored(folder)

    def remove(self, name: str) -> None:
        """Removes what lies under a relative name, if there is anything; raises what `write` raises."""
        self._writer().remove(name)

    def _writer(self) -> VersionedStore:
        if self._store is None:
            raise ConfigurationError(
                "no blob store is configured", where="VERISTREAM_BLOBS__STORE", remedy="Set it to file:/// or s3://"
            )
        return self._store


def open_store(settings: BlobSettings) -> Blobs:
    """Opens the stores that the settings name; nothing is connected to yet.

    Raises:
        ConfigurationError: The store is neither ``file:///folder`` nor ``s3://bucket/prefix``.
    """
    store, roots, buckets = settings.store, settings.allowed_roots, settings.allowed_buckets
    parts = urlsplit(store)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        folder = FolderBlobs.of_uri(store, roots)
        return Blobs(folder, S3Blobs(settings, buckets), folder)
    if parts.scheme == "s3" and parts.netloc:
        bucket, prefix = split(store)
        s3 = S3Blobs(settings, (bucket, *buckets), home=(bucket, prefix))
        return Blobs(FolderBlobs(roots), s3, s3)
    if store:
        remedy = "Use file:///folder or s3://bucket/prefix"
        raise ConfigurationError(f"{store!r} is no blob store", where="VERISTREAM_BLOBS__STORE", remedy=remedy)
    return Blobs(FolderBlobs(roots), S3Blobs(settings, buckets), None)


def redeem(claim: ImageClaim, store: BlobStore, limit: int) -> bytes:
    """Fetches the picture behind a claim check and proves that it is the one that was claimed.

    Args:
        claim: Where it lies, with its size and SHA-256.
        store: Where to read.
        limit: Most bytes to take in.

    Raises:
        BlobNotFound, BlobForbidden, BlobUnavailable: As named.
        BlobCorrupt: Size or SHA-256 differ from the claim.
        ImageTooLarge: The claim or the object is over ``limit`` bytes.
    """
    if claim.size > limit:
        raise ImageTooLarge(f"the claim says {claim.size} bytes, over the limit of {limit}", where=claim.uri)
    data = store.read(claim.uri, limit=limit)
    if len(data) != claim.size:
        raise BlobCorrupt(f"{len(data)} bytes where the claim says {claim.size}", where=claim.uri)
    digest = hashlib.sha256(data).hexdigest()
    if digest != claim.sha256:
        raise BlobCorrupt(f"SHA-256 is {digest}, the claim says {claim.sha256}", where=claim.uri)
    return data
