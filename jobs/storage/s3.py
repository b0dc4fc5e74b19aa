"""Object storage that speaks S3, through s3fs's session and event loop.

Calls go to the client that s3fs holds rather than through its file interface: claims and publications are
one conditional PUT whose error code is read here, and each call is tried once so that the attempts counted
are the attempts made. What arrives is checked against the SHA-256 that `create` notes beside
each object, else, where no TLS does it, against an ETag that is an MD5.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import aiobotocore.session
import aiohttp
import botocore.exceptions as botocore_errors
import botocore.handlers
import botocore.parsers
import botocore.utils
import fsspec.asyn
import s3fs

from jobs.storage.base import (
    Access,
    AccessRefused,
    BucketMissing,
    CreateOutcome,
    CredentialsRefused,
    ObjectChanged,
    ObjectInfo,
    ObjectMissing,
    StorageError,
    StoreFull,
    StoreUnreachable,
)
from jobs.storage.endpoints import check_address, endpoint_in_use
from jobs.storage.locations import is_hidden
from jobs.storage.pace import process_pace
from jobs.storage.ranged import RangedObject
from jobs.storage.resolver import GuardedResolver
from jobs.storage.retry import call_with_retries
from jobs.storage.roots import is_allowed, refusal
from jobs.storage.s3_listing import Page, list_in_parallel

SLOW_DOWN_CODES = frozenset(
    "SlowDown ServiceUnavailable Throttling ThrottlingException TooManyRequests RequestLimitExceeded "
    "429 503".split()
)
DAMAGED_CODES = frozenset("BadDigest XAmzContentSHA256Mismatch IncompleteBody".split())
PASSING_CODES = (
    frozenset(
        "RequestTimeout InternalError ConditionalRequestConflict OperationAborted 409 500 502 504".split()
    )
    | SLOW_DOWN_CODES
    | DAMAGED_CODES
)
EXPIRED_CODES = frozenset("ExpiredToken ExpiredTokenException TokenRefreshRequired".split())
CREDENTIAL_CODES = frozenset("InvalidAccessKeyId SignatureDoesNotMatch InvalidToken".split())
FULL_CODES = frozenset("QuotaExceeded XMinioStorageFull InsufficientCapacity 507".split())
CONNECTION_ERRORS = (
    botocore_errors.ConnectionError,
    botocore_errors.HTTPClientError,
    botocore_errors.IncompleteReadError,
    botocore.parsers.ResponseParserError,
    aiohttp.ClientError,
    ConnectionError,
    TimeoutError,
)
CREDENTIAL_ERRORS = (
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.ProfileNotFound,
    botocore_errors.CredentialRetrievalError,
)
MAX_CONNECTIONS = 32
PLAIN_MD5 = re.compile("[0-9a-f]{32}")
CONNECT_TIMEOUT_S = 5
ATTEMPT_LIMIT_S = 600


class S3Store:
    """Objects of S3-compatible servers. Build it inside the process that uses it (s3fs is not fork-safe)."""

    def __init__(self, access: Access) -> None:
        self._access = access
        endpoint = endpoint_in_use(access.endpoint_url)
        if endpoint is not None:
            check_address(endpoint)
        self._pace = process_pace(access.max_requests_per_s)
        self._etags_are_md5: dict[str, bool] = {}  # by bucket, once an object has shown it
        self._client: Any = None
        client = {"region_name": access.region} if access.region else {}
        session = aiobotocore.session.AioSession(profile=access.profile)
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_parse_time)
        self._fs = s3fs.S3FileSystem(
            endpoint_url=access.endpoint_url,
            client_kwargs=client,
            config_kwargs={
                "retries": {"total_max_attempts": 1},
                "connector_args": {"resolver": GuardedResolver()},
                "max_pool_connections": MAX_CONNECTIONS,
                "connect_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": access.timeout_s,
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
            skip_instance_cache=True,
            session=session,
        )

    def walk(self, uri: str) -> Iterator[ObjectInfo]:
        bucket, prefix = split_s3(uri)
        if prefix and not prefix.endswith("/"):
            if self.exists(uri):
                yield self.stat(uri)
                return
            prefix += "/"
        for info in self._list_prefix(bucket, prefix):
            inner = info.uri[len(f"s3://{bucket}/{prefix}") :]
            if inner and not any(map(is_hidden, inner.split("/"))) and inner[-1] != "/":
                yield info

    def _list_prefix(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """List below a prefix, in key order, with several requests at once."""
        root = f"s3://{bucket}/"

        def fetch(after: str, token: str | None) -> Page:
            options = {"StartAfter": after.removeprefix(root)} if after else {}
            page = self._page(bucket, prefix, **({"ContinuationToken": token} if token else options))
            return Page(
                _infos(bucket, page), page["NextContinuationToken"] if page.get("IsTruncated") else None
            )

        return list_in_parallel(fetch, root + prefix)

    def _pages(self, bucket: str, prefix: str, **options: Any) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        while True:
            page = self._page(bucket, prefix, **options, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _page(self, bucket: str, prefix: str, **options: Any) -> dict[str, Any]:
        return self._call("list_objects_v2", f"s3://{bucket}/{prefix}", Prefix=prefix, **options)

    def stat(self, uri: str) -> ObjectInfo:
        head = self._head(uri)
        return ObjectInfo(uri, head["ETag"].strip('"'), head["ContentLength"])

    def _head(self, uri: str) -> dict[str, Any]:
        return self._call("head_object", uri, Key=split_s3(uri)[1])

    def exists(self, uri: str) -> bool:
        try:
            self._head(uri)
        except ObjectMissing:
            return False
        return True

    def modified_at(self, uri: str) -> datetime:
        modified: datetime = self._head(uri)["LastModified"]
        return modified

    def read(self, uri: str, *, etag: str | None = None) -> bytes:
        with _pinned(uri, etag) as condition:
            return self._read_checked(uri, condition)

    def open(self, uri: str, *, etag: str | None = None, size: int | None = None) -> BinaryIO:
        if size is None:
            size = self.stat(uri).size

        def fetch(start: int, stop: int) -> bytes:
            with _pinned(uri, etag) as condition:
                return self._read_range(uri, start, stop, condition)

        return io.BufferedReader(RangedObject(fetch, size))

    def _read_range(self, uri: str, start: int, stop: int, condition: dict[str, str]) -> bytes:
        """Bytes of an object: their number is checked, what they are only by TLS where there is one."""
        where = {"Key": split_s3(uri)[1], "Range": f"bytes={start}-{stop - 1}"}
        for _ in range(self._access.attempts):
            body = bytes(self._call("get_object", uri, **where, **condition)["Body"])
            if len(body) == stop - start:
                return body
        raise StoreUnreachable(f"{uri}: the store gave {len(body)} bytes of {stop - start} at {start}")

    def _read_checked(self, uri: str, condition: dict[str, str]) -> bytes:
        """Read until a body has the digest stated for it, or arrives twice the same.

        The latter stands where the ETag is no digest, as some servers and encryptions have it; never against
        the SHA-256 that we noted ourselves.
        """
        bucket, key = split_s3(uri)
        before = b""
        for _ in range(self._access.attempts):
            answer = self._call("get_object", uri, Key=key, **condition)
            body = bytes(answer["Body"])
            algorithm, stated = _stated_digest(answer)
            if not algorithm or (algorithm == "md5" and not self._checks_etags(bucket)):
                return body
            if hashlib.new(algorithm, body, usedforsecurity=False).hexdigest() == stated:
                if algorithm == "md5":
                    self._etags_are_md5.setdefault(bucket, True)
                return body
            digest = hashlib.sha256(body).digest()
            if digest == before and algorithm == "sha256":
                raise StorageError(
                    f"{uri} is damaged: its content is not what was written (SHA-256 {stated}). "
                    "Delete it and run again"
                )
            if digest == before:
                self._etags_are_md5.setdefault(bucket, False)
                return body
            before = digest
        raise StoreUnreachable(
            f"{uri} arrived damaged {self._access.attempts} times, each time otherwise: "
            "something between here and the store alters what it carries; use https, or another route"
        )

    def _checks_etags(self, bucket: str) -> bool:
        """Whether ETags are compared: TLS has checked what came over it, and MD5 is a tenth of decoding."""
        over_tls = self._client.meta.endpoint_url.startswith("https://")
        return not over_tls and self._etags_are_md5.get(bucket, True)

    def create(self, uri: str, body: bytes, *, writer: str) -> CreateOutcome:
        if not body:
            raise ValueError("a claim needs a body: stores treat empty ones differently")
        digest = hashlib.sha256(body).hexdigest()
        try:
            self._put(uri, body, IfNoneMatch="*", Metadata={"veedor-writer": writer, "veedor-sha256": digest})
        except _PreconditionFailed:
            # Our own PUT may have taken effect while its answer was lost: then the digest is ours.
            standing = self._head(uri).get("Metadata", {}).get("veedor-sha256")
            return "same" if standing == digest else "exists"
        return "created"

    def put(self, uri: str, body: bytes) -> None:
        self._put(uri, body)

    def _put(self, uri: str, body: bytes, **options: Any) -> None:
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        self._call("put_object", uri, Key=split_s3(uri)[1], Body=body, ContentMD5=md5, **options)

    def delete(self, uri: str) -> None:
        self._call("delete_object", uri, Key=split_s3(uri)[1])

    def list_names(self, uri: str) -> list[str]:
        bucket, prefix = split_s3(uri.rstrip("/") + "/")
        pages = self._pages(bucket, prefix, Delimiter="/")
        return sorted(
            f["Key"][len(prefix) :] for p in pages for f in p.get("Contents", ()) if f["Key"] != prefix
        )

    def _call(self, method: str, uri: str, **arguments: Any) -> dict[str, Any]:
        if not is_allowed(uri, self._access.roots):
            raise AccessRefused(refusal(uri, self._access.roots))

        def once() -> dict[str, Any]:
            self._pace.wait()
            try:
                answer: dict[str, Any] = fsspec.asyn.sync(
                    self._fs.loop, self._once, method, uri, arguments, timeout=ATTEMPT_LIMIT_S
                )
            except botocore_errors.ClientError as error:
                if _code(error) in SLOW_DOWN_CODES:
                    self._pace.slow_down()
                raise
            self._pace.speed_up()
            return answer

        try:
            return call_with_retries(once, attempts=self._access.attempts, passing=_is_passing)
        except (botocore_errors.BotoCoreError, botocore_errors.ClientError, *CONNECTION_ERRORS) as error:
            raise self._translate(error, uri) from error

    async def _once(self, method: str, uri: str, arguments: dict[str, Any]) -> dict[str, Any]:
        client = await self._fs.set_session()
        if client is not self._client:
            self._client = client
            # A PUT that waits for "100 Continue" costs a round trip and waits for ever where none comes.
            client.meta.events.unregister("before-call.s3", botocore.handlers.add_expect_header)
        answer: dict[str, Any] = await getattr(client, method)(Bucket=split_s3(uri)[0], **arguments)
        if "Body" in answer:
            async with answer["Body"] as stream:
                answer["Body"] = await stream.read()
        return answer

    def _translate(self, error: Exception, uri: str) -> StorageError:
        where = self._access.endpoint_url or "the S3 endpoint of the environment"
        if isinstance(error, CREDENTIAL_ERRORS):
            return CredentialsRefused(
                f"no usable credentials for {uri}: {str(error).rstrip('.')}. Set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or name a profile with --profile."
            )
        if isinstance(error, botocore_errors.ClientError):
            return _translate_answer(error, uri)
        return StoreUnreachable(
            f"cannot reach {where} for {uri}: {_first_line(error)}. "
            "Check --endpoint-url or AWS_ENDPOINT_URL, and the network."
        )


class _PreconditionFailed(StorageError):
    code = "precondition"


def _parse_time(text: str) -> datetime:
    """A listing has a time for each key; botocore's parser makes them four fifths of what a page costs."""
    with contextlib.suppress(ValueError, TypeError):
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found
    known: datetime = botocore.utils.parse_timestamp(text)
    return known


@contextlib.contextmanager
def _pinned(uri: str, etag: str | None) -> Iterator[dict[str, str]]:
    """The condition under which a version is read; `ObjectChanged` if it did not hold."""
    try:
        yield {} if etag is None else {"IfMatch": f'"{etag}"'}
    except _PreconditionFailed as error:
        raise ObjectChanged(f"{uri} changed after the plan was made (it was {etag})") from error


def split_s3(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _infos(bucket: str, page: dict[str, Any]) -> list[ObjectInfo]:
    return [
        ObjectInfo(f"s3://{bucket}/{found['Key']}", found["ETag"].strip('"'), found["Size"])
        for found in page.get("Contents", ())
    ]


def _code(error: botocore_errors.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_passing(error: Exception) -> bool:
    if isinstance(error, botocore_errors.ClientError):
        return _code(error) in PASSING_CODES
    return isinstance(error, CONNECTION_ERRORS)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _stated_digest(answer: dict[str, Any]) -> tuple[str, str]:
    """The algorithm and hexadecimal digest that an answer states for its body; both empty if it does not."""
    noted = answer.get("Metadata", {}).get("veedor-sha256")
    if noted:
        return "sha256", noted
    etag = answer["ETag"].strip('"')
    keyed = answer.get("SSECustomerAlgorithm") or "kms" in answer.get("ServerSideEncryption", "")
    return ("md5", etag) if PLAIN_MD5.fullmatch(etag) and not keyed else ("", "")


def _translate_answer(error: botocore_errors.ClientError, uri: str) -> StorageError:
    code = _code(error)
    message = error.response.get("Error", {}).get("Message", "")
    if code == "NoSuchBucket":
        return BucketMissing(f"there is no bucket {split_s3(uri)[0]!r} (asked for {uri})")
    if code in ("NoSuchKey", "404"):
        return ObjectMissing(f"there is no object {uri}")
    if code in ("PreconditionFailed", "412"):
        return _PreconditionFailed(f"{uri}: a condition did not hold")
    if code in EXPIRED_CODES:
        return CredentialsRefused(
            f"the credentials have expired ({code}, asked for {uri}): renew them, then run the same command "
            "again"
        )
    if code == "RequestTimeTooSkewed":
        return CredentialsRefused(
            f"this machine's clock is too far from the store's ({code}, asked for {uri}): set the clock, "
            "then run the same command again"
        )
    if code in CREDENTIAL_CODES:
        return CredentialsRefused(f"access to {uri} was refused ({code}): check the credentials")
    if code in ("AccessDenied", "403"):
        return AccessRefused(
            f"access to {uri} was refused ({code}): check the credentials and that they allow this"
        )
    if code in FULL_CODES:
        return StoreFull(
            f"{uri} cannot be written, the store is full ({code}): make room or raise the quota, then run "
            "the same command again"
        )
    if code in DAMAGED_CODES:
        return StoreUnreachable(
            f"{uri} reached the store damaged each time ({code}): something between here and the store "
            "alters what it carries; use https, or another route"
        )
    if code in PASSING_CODES:
        return StoreUnreachable(
            f"{uri}: the store kept answering {code}; try again later, or with fewer workers, or set "
            "storage.max_requests_per_s"
        )
    return StorageError(f"{uri}: the store answered {code}: {message}")
