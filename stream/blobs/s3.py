"""Blobs in S3, or in anything that speaks its protocol, by ``s3://bucket/key`` URI.

boto3 takes a third of a second to import, so it is imported with the first call: a worker that never meets a claim
check starts without it.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from stream.errors import (
    BlobChanged,
    BlobForbidden,
    BlobNotFound,
    BlobUnavailable,
    ConfigurationError,
    ImageTooLarge,
    VeristreamError,
)
from stream.ports import Revised, Stored
from stream.settings import BlobSettings

_SCHEME = "s3://"
_NOT_FOUND = 404
_SERVER_ERROR = 500
# Answers to a conditional put that came too late.
_OVERTAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
# Client errors that pass: throttling, a slow upload, a clock that is being set.
_PASSING = frozenset({"SlowDown", "RequestTimeout", "Throttling", "TooManyRequests", "RequestTimeTooSkewed", "429"})


class S3Blobs:
    """A `stream.ports.VersionedStore` over S3. Thread-safe.

    Args:
        settings: Endpoint, keys and time-outs.
        buckets: Buckets that may be read.
        home: Bucket and key prefix to write to; None to read only.
    """

    def __init__(self, settings: BlobSettings, buckets: Sequence[str], home: tuple[str, str] | None = None) -> None:
        self._settings = settings
        self._buckets = frozenset(buckets)
        self._home = home
        self._connecting = threading.Lock()

    def read(self, uri: str, *, limit: int) -> bytes:
        """Returns an object's bytes.

        Raises:
            BlobForbidden: The bucket is not allowed, the key steps upwards, or S3 refuses.
            BlobNotFound: There is no such object or bucket.
            BlobUnavailable: S3 does not answer.
            ImageTooLarge: More than ``limit`` bytes.
        """
        return self.revised(uri, limit=limit).data

    def revised(self, uri: str, *, limit: int) -> Revised:
        """Returns an object's bytes with their revision, which is S3's ETag; raises what `read` raises."""
        bucket, key = split(uri)
        if bucket not in self._buckets:
            remedy = "VERISTREAM_BLOBS__ALLOWED_BUCKETS lists the buckets that may be read"
            raise BlobForbidden(f"the bucket {bucket!r} is not allowed", where=uri, remedy=remedy)
        if not key or {".", ".."} & set(key.split("/")):
            raise BlobForbidden("this is no key of an object", where=uri)
        with self._explained(uri):
            answer = self._connect().get_object(Bucket=bucket, Key=key)
            with answer["Body"] as body:
                size = answer["ContentLength"]
                if size > limit:
                    raise ImageTooLarge(f"{size} bytes, over the limit of {limit}", where=uri)
                data: bytes = body.read()
        return Revised(data, str(answer["ETag"]))

    def write(self, name: str, data: bytes, *, media_type: str) -> str:
        """Stores bytes under a relative name and returns their URI.

        Raises:
            BlobForbidden: The store is for reading only, the name steps upwards, or S3 refuses.
            BlobUnavailable: S3 does not answer.
        """
        bucket, key = self._place(name)
        uri = f"{_SCHEME}{bucket}/{key}"
        with self._explained(uri):
            self._connect().put_object(Bucket=bucket, Key=key, Body=data, ContentType=media_type)
        return uri

    def uri(self, name: str) -> str:
        """Where something of this relative name lies, or would lie."""
        return _SCHEME + "/".join(self._place(name))

    def replace(self, name: str, data: bytes, *, media_type: str, revision: str | None) -> str:
        """Stores bytes if the object still has this revision, with If-Match; None: If-None-Match.

        See `stream.ports.VersionedStore`.

        Raises:
            BlobChanged: Another revision is there, or none, or somebody else is writing.
            BlobForbidden, BlobUnavailable: As for `write`.
        """
        bucket, key = self._place(name)
        condition = {"IfNoneMatch": "*"} if revision is None else {"IfMatch": revision}
        with self._explained(f"{_SCHEME}{bucket}/{key}", conditional=True):
            answer = self._connect().put_object(Bucket=bucket, Key=key, Body=data, ContentType=media_type, **condition)
        return str(answer["ETag"])

    def stored(self, folder: str) -> Iterator[Stored]:
        """Lists the objects below a relative name.

        Raises:
            BlobForbidden: The store is for reading only, the name steps upwards, or S3 refuses.
            BlobUnavailable: S3 does not answer.
        """
        bucket, key = self._place(folder)
        above = len(key) - len(folder)
        with self._explained(f"{_SCHEME}{bucket}/{key}"):
            for page in self._connect().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/"):
                for one in page.get("Contents", ()):
                    yield Stored(one["Key"][above:], one["Size"], one["LastModified"].timestamp())

    def remove(self, name: str) -> None:
        """Removes an object, if there is one; raises what `write` raises."""
        bucket, key = self._place(name)
        with self._explained(f"{_SCHEME}{bucket}/{key}"):
            self._connect().delete_object(Bucket=bucket, Key=key)

    def _place(self, name: str) -> tuple[str, str]:
        if self._home is None:
            raise BlobForbidden("this store is for reading only", where=name)
        if {"", ".", ".."} & set(name.split("/")):
            raise BlobForbidden("the name leaves the store's prefix", where=name)
        bucket, prefix = self._home
        key = f"{prefix.rstrip('/')}/{name}".lstrip("/")
        return bucket, key

    def _connect(self) -> Any:
        with self._connecting:
            return self._client

    @cached_property
    def _client(self) -> Any:
        import boto3  # noqa: PLC0415  see the module's docstring
        from botocore.config import Config  # noqa: PLC0415

        settings = self._settings
        return boto3.session.Session().client(
            "s3",
            endpoint_url=settings.s3_endpoint or None,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key.get_secret_value() or None,
            aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
            config=Config(
                connect_timeout=settings.timeout_s,
                read_timeout=settings.timeout_s,
                # The worker retries a whole batch with its own back-off; more attempts here would only hold it up.
                retries={"total_max_attempts": 2, "mode": "standard"},
                max_pool_connections=32,
            ),
        )

    @contextmanager
    def _explained(self, uri: str, *, conditional: bool = False) -> Iterator[None]:
        from botocore import exceptions  # noqa: PLC0415  see the module's docstring

        try:
            yield
        except exceptions.ClientError as error:
            refusal = _refusal(error.response, uri)
            if conditional and isinstance(refusal, BlobNotFound):
                refusal = BlobChanged("somebody else removed the object since it was read", where=uri)
            raise refusal from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            remedy = "Set VERISTREAM_BLOBS__S3_ACCESS_KEY and VERISTREAM_BLOBS__S3_SECRET_KEY"
            raise ConfigurationError("there are no keys for S3", where=uri, remedy=remedy) from error
        except exceptions.ParamValidationError as error:
            raise BlobForbidden("S3 allows no such bucket or key", where=uri) from error
        except (exceptions.BotoCoreError, exceptions.HTTPClientError) as error:
            remedy = "Check VERISTREAM_BLOBS__S3_ENDPOINT and the network"
            raise BlobUnavailable(f"S3 does not answer: {error}", where=uri, remedy=remedy) from error


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI; a key is taken as it stands, as Amazon's own tools do."""
    bucket, _, key = uri[len(_SCHEME) :].partition("/")
    return bucket, key


def _refusal(response: dict[str, Any], uri: str) -> VeristreamError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in {"NoSuchKey", "NoSuchBucket"} or status == _NOT_FOUND:
        return BlobNotFound(f"there is no such object ({code})", where=uri)
    if code in _OVERTAKEN:
        return BlobChanged(f"somebody else wrote the object since it was read ({code})", where=uri)
    if status >= _SERVER_ERROR or code in _PASSING:
        return BlobUnavailable(f"S3 cannot answer now ({code})", where=uri)
    remedy = "Check the keys' rights on this bucket"
    return BlobForbidden(f"S3 refuses ({code})", where=uri, remedy=remedy)
