"""From a picture in hand to an upload event: what it is, how large, and whether it travels inline or as a claim check.

The bytes go inline up to a limit; above it they are written to the blob store and the event carries their URI, SHA-256
and size. A URI of a picture that already lies in a store is never copied: the event points to it.
"""

import difflib
import hashlib
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Required, TypedDict
from uuid import UUID

from stream.blobs import open_store
from stream.errors import BlobNotFound, ConfigurationError, ImageTooLarge, MalformedEvent, NotAnImage
from stream.events import ImageClaim
from stream.ports import BlobStore
from stream.settings import MIB, BlobSettings
from stream.uploads import Upload

Content = bytes | Path | str
"""The picture's bytes, the path of a file, or the URI of an object that a worker can reach."""

_WEBP_HEADER_BYTES = 12
_GIF = "image/gif"
_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": _GIF,
    b"GIF89a": _GIF,
}


class About(TypedDict, total=False):
    """What may be said of an upload besides its content.

    Attributes:
        uploader: Opaque account id; the only one that is required.
        tenant: Whose platform; ``default`` unless given.
        media_type: ``image/...``; read from the first bytes unless given.
        upload_id: Made by `time_ordered_id` unless given. Sending again under the same id is how to retry.
        occurred_at: When the upload happened, with a time zone; now unless given.
        traceparent: W3C trace context to pass on.
        sha256: Of a URI's object, lower-case hex; saves fetching it when `size` and `media_type` are given too.
        size: Of a URI's object, bytes.
    """

    uploader: Required[str]
    tenant: str
    media_type: str | None
    upload_id: str | None
    occurred_at: datetime | None
    traceparent: str | None
    sha256: str | None
    size: int | None


def time_ordered_id(at: datetime | None = None) -> str:
    """A UUID version 7: ids made later sort later, to about a quarter of a microsecond within this process.

    48 bits of milliseconds, 12 bits of the fraction of a millisecond (RFC 9562, section 6.2, method 3), 62 random bits.
    """
    nanoseconds = time.time_ns() if at is None else round(at.timestamp() * 1_000_000) * 1000
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return str(UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random))


def sniff(head: bytes) -> str | None:
    """The media type that the first bytes announce, of those that workers open, or None."""
    if head[:4] == b"RIFF" and head[8:_WEBP_HEADER_BYTES] == b"WEBP":
        return "image/webp"
    return next((media_type for magic, media_type in _MAGIC.items() if head.startswith(magic)), None)


@dataclass(frozen=True)
class Packer:
    """Makes upload events.

    Attributes:
        store: Where pictures over the limit are written and URIs are read from; allows neither unless given.
        inline_limit: Bytes up to which a picture travels inside its event.
        max_bytes: Bytes above which workers refuse a picture, so that it is refused here already.
        source: Who produces, for the event's ``source``.
    """

    store: BlobStore = field(default_factory=partial(open_store, BlobSettings()))
    inline_limit: int = 256 * 1024
    max_bytes: int = 20 * MIB
    source: str = "veristream/producer"

    def pack(self, content: Content, about: About) -> Upload:
        """Makes the event of one upload, writing its bytes to the blob store when they are too many to go inline.

        Raises:
            NotAnImage: The bytes are none of the formats that workers open, and no media type was given.
            ImageTooLarge: More than `max_bytes`.
            MalformedEvent: The media type is not ``image/...``, a URI is no URI, or its digest is none.
            ConfigurationError: Over the inline limit, and there is no blob store to write to.
            BlobError: The file or object cannot be read, or the store cannot be written.
            TypeError: ``about`` has a name that is not in `About`, or no ``uploader``.
        """
        _check_names(about)
        occurred_at = about.get("occurred_at") or datetime.now(UTC)
        body: bytes | ImageClaim
        if isinstance(content, str):
            body = self._refer(content, about)
            media_type = body.media_type
        else:
            data = self._read_file(content) if isinstance(content, Path) else content
            media_type = self._media_type(data, about.get("media_type"), where=_where(content))
            body = self._place(data, media_type, where=_where(content))
        return Upload(
            id=about.get("upload_id") or time_ordered_id(occurred_at if about.get("occurred_at") else None),
            content=body,
            media_type=media_type,
            uploader=about["uploader"],
            tenant=about.get("tenant", "default"),
            occurred_at=occurred_at,
            source=self.source,
            traceparent=about.get("traceparent"),
        )

    def _read_file(self, path: Path) -> bytes:
        try:
            size = path.stat().st_size
            self._check_size(size, where=str(path))
            return path.read_bytes()
        except OSError as error:
            raise BlobNotFound(f"the file cannot be read: {error.strerror}", where=str(path)) from error

    def _place(self, data: bytes, media_type: str, *, where: str) -> bytes | ImageClaim:
        self._check_size(len(data), where=where)
        if len(data) <= self.inline_limit:
            return data
        digest = hashlib.sha256(data).hexdigest()
        try:
            uri = self.store.write(f"uploads/{digest[:2]}/{digest}", data, media_type=media_type)
        except ConfigurationError as error:
            what = f"a picture of {len(data)} bytes is over the inline limit of {self.inline_limit}, and {error.what}"
            remedy = "Set VERISTREAM_BLOBS__STORE, or raise VERISTREAM_BLOBS__INLINE_LIMIT"
            raise ConfigurationError(what, where=where, remedy=remedy) from error
        return ImageClaim(uri=uri, sha256=digest, media_type=media_type, size=len(data))

    def _refer(self, uri: str, about: About) -> ImageClaim:
        if "://" not in uri:
            raise MalformedEvent(f"{uri!r} is no URI", remedy="Wrap the path of a file in pathlib.Path")
        sha256, size, media_type = about.get("sha256"), about.get("size"), about.get("media_type")
        if sha256 is None or size is None or media_type is None:
            data = self.store.read(uri, limit=self.max_bytes)
            media_type = self._media_type(data, media_type, where=uri)
            sha256, size = sha256 or hashlib.sha256(data).hexdigest(), size or len(data)
        self._check_size(size, where=uri)
        return ImageClaim.from_json(_claim_json(uri, sha256, media_type, size), where=uri)

    def _media_type(self, data: bytes, given: str | None, *, where: str) -> str:
        if given is not None:
            if not given.startswith("image/"):
                raise MalformedEvent(f"media type {given!r} is not image/...", where=where)
            return given
        found = sniff(data)
        if found is None:
            remedy = "Workers open JPEG, PNG, WebP and GIF; give media_type to send it all the same"
            raise NotAnImage("the bytes are not a picture that workers open", where=where, remedy=remedy)
        return found

    def _check_size(self, size: int, *, where: str) -> None:
        if size > self.max_bytes:
            raise ImageTooLarge(f"{size} bytes, and workers open at most {self.max_bytes}", where=where)


def _check_names(about: About) -> None:
    # `**about` takes any keyword, so a misspelt one would be lost in silence.
    known = About.__required_keys__ | About.__optional_keys__
    for name in about.keys() - known:
        near = difflib.get_close_matches(name, known, n=1)
        raise TypeError(f"an upload has no {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    for name in About.__required_keys__ - about.keys():
        raise TypeError(f"an upload needs {name!r}")


def _where(content: bytes | Path) -> str:
    return str(content) if isinstance(content, Path) else ""


def _claim_json(uri: str, sha256: str, media_type: str, size: int) -> bytes:
    # Through JSON so that a wrong digest from a caller is told as MalformedEvent, not as a pydantic error.
    claim = ImageClaim.model_construct(uri=uri, sha256=sha256, media_type=media_type, size=size)
    return claim.model_dump_json().encode()
