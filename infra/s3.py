"""S3 objects behind the `Store` interface, by boto3."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

from infra.storage import NotFoundError, StorageError, Store, check_key

_MISSING = {"404", "NoSuchKey", "NotFound"}
_DENIED = {
    "401", "403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "SignatureDoesNotMatch", "Unauthorized",
}  # fmt: skip
_ATTEMPTS = 6  # of a request that is throttled or fails with 5xx: up to half a minute
# boto3 tries requests again, but not an answer that breaks off while its body is read.
_BODY_ERRORS = {
    "IncompleteReadError", "ProtocolError", "ReadTimeoutError", "ResponseStreamingError",
}  # fmt: skip
_BODY_TRIES = 4
_READ_TIMEOUT = 60.0  # seconds without a byte
_PART = 16 << 20  # bytes of one part: 100 GiB still fit in the 10,000 parts that S3 allows


class S3Store(Store):
    """Objects under `s3://bucket/prefix`. The client is made on first use, once per process."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket, self.prefix = bucket, prefix.strip("/")
        if self.prefix:
            check_key(self.prefix)
        self.uri = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self._client: Any = None
        self._owner = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"bucket": self.bucket, "prefix": self.prefix}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["bucket"], state["prefix"])  # type: ignore[misc]

    @property
    def client(self) -> Any:
        """The boto3 client; a forked child makes its own."""
        if self._client is None or self._owner != os.getpid():
            self._client, self._owner = _make_client(self.uri), os.getpid()
        return self._client

    def _key(self, key: str) -> str:
        check_key(key)
        return f"{self.prefix}/{key}" if self.prefix else key

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._key(key)}

    def read(self, key: str, offset: int | None = None, size: int | None = None) -> bytes:
        extra: dict[str, str] = {}
        if offset is not None or size is not None:
            start = offset or 0
            if start < 0 or (size is not None and size < 0):
                raise ValueError(f"bad range: offset {offset}, size {size}; both must be 0 or more")
            if size == 0:
                return b""
            extra["Range"] = f"bytes={start}-" + ("" if size is None else str(start + size - 1))
        for attempt in range(_BODY_TRIES):
            try:
                where = self._where(key)
                answer = self.client.get_object(**where, **extra)
                with answer["Body"] as body:
                    return body.read()
            except Exception as error:
                if _code(error) in ("416", "InvalidRange"):
                    return b""  # the object ends before the range
                if type(error).__name__ not in _BODY_ERRORS or attempt == _BODY_TRIES - 1:
                    raise self._guard(error, key) from None
            # Full jitter: the readers of a cluster do not come back at the same moment.
            time.sleep(random.SystemRandom().uniform(0.0, 0.5 * 2**attempt))
        raise AssertionError("unreachable")

    def write(self, key: str, data: bytes) -> None:
        try:
            where = self._where(key)
            self.client.put_object(**where, Body=data)
        except Exception as error:
            raise self._guard(error, key) from None

    def put_file(self, path: str | os.PathLike[str], key: str) -> None:
        try:
            self.client.upload_file(
                os.fspath(path), self.bucket, self._key(key), Config=_transfer()
            )
        except Exception as error:
            raise self._guard(error, key) from None

    def get_file(self, key: str, path: str | os.PathLike[str]) -> None:
        try:
            self.client.download_file(
                self.bucket, self._key(key), os.fspath(path), Config=_transfer()
            )
        except Exception as error:
            raise self._guard(error, key) from None

    def list(self, prefix: str = "") -> Iterator[str]:
        base = f"{self.prefix}/" if self.prefix else ""
        try:
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=base + prefix
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"][len(base) :]
        except Exception as error:
            if _code(error) == "NoSuchKey":  # some servers say so for an empty prefix
                return
            raise self._guard(error, prefix or ".") from None

    def size(self, key: str) -> int:
        try:
            where = self._where(key)
            return int(self.client.head_object(**where)["ContentLength"])
        except Exception as error:
            raise self._guard(error, key) from None

    def delete(self, key: str) -> None:
        try:
            where = self._where(key)
            self.client.delete_object(**where)
        except Exception as error:
            if _code(error) not in _MISSING:
                raise self._guard(error, key) from None

    def child(self, prefix: str) -> S3Store:
        below = S3Store(self.bucket, self._key(prefix.strip("/")))
        below._client, below._owner = self._client, self._owner  # a client costs 0.3 s
        return below

    def _guard(self, error: Exception, key: str) -> StorageError:
        """A StorageError made of the code alone: server texts may repeat keys and endpoints."""
        if isinstance(error, (StorageError, ValueError)) and not _is_botocore(error):
            raise error
        code, status = _code(error), _status(error)
        uri = f"{self.uri}/{key}"
        if code in _MISSING:
            return NotFoundError(uri, "does not exist", "check the address")
        if code == "NoSuchBucket":
            return StorageError(uri, f"no bucket {self.bucket!r}", "create the bucket first")
        if code in _DENIED or code in ("NoCredentialsError", "PartialCredentialsError"):
            return StorageError(
                uri,
                f"access refused ({code})",
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL",
            )
        if code == "RequestTimeTooSkewed":
            fix = "set the clock of this node (NTP), then run the same command again"
            return StorageError(uri, f"the clock is wrong ({code})", fix)
        transient = status >= 500 or status == 429 or not status
        fix = "check AWS_ENDPOINT_URL and the network, then run the same command again"
        return StorageError(uri, f"S3 failed ({code})", fix, transient=transient)


def _make_client(uri: str) -> Any:
    import boto3
    from botocore.config import Config

    options: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},  # backoff with jitter
        "connect_timeout": 5,  # seconds
        "read_timeout": _READ_TIMEOUT,
        "max_pool_connections": 16,
        # Other servers than AWS's do not know the newer default checksums.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    try:
        session = boto3.session.Session()
        region = session.region_name or "us-east-1"
        client = session.client("s3", region_name=region, config=Config(**options))
        if "amazonaws.com" not in client.meta.endpoint_url:
            # A server at http://minio:9000 has no host name per bucket.
            config = Config(**options, s3={"addressing_style": "path"})
            client = session.client("s3", region_name=region, config=config)
        return client
    except Exception as error:
        raise StorageError(
            uri, f"cannot make an S3 client ({_code(error)})", "check the AWS_* variables"
        ) from None


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=4)


def _is_botocore(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in ("botocore", "boto3", "s3transfer")


def _code(error: Exception) -> str:
    """The error code; boto3 wraps that of an upload in S3UploadFailedError."""
    response = getattr(error, "response", None)
    if response is None and isinstance(error.__context__, Exception):
        response = getattr(error.__context__, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "")) or type(error).__name__
    return type(error).__name__


def _status(error: Exception) -> int:
    response = getattr(error, "response", None) or getattr(error.__context__, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 0
