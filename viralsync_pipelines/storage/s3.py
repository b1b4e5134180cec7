"""The store in a bucket: any S3-compatible service, Cloudflare R2 first.

What belongs here: the store's promises in S3's words (atomic puts, one winner, resumed downloads, no parts left behind).
The client and its errors are s3_client.py's.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

from viralsync_pipelines.errors import ObjectMissing, StoreError
from viralsync_pipelines.storage import files
from viralsync_pipelines.storage.keys import checked_key, checked_prefix, content_type_of, key_fault
from viralsync_pipelines.storage.s3_client import status_of, suit_compatibles, translated
from viralsync_pipelines.storage.store import Stat

MULTIPART_BYTES = 16 << 20
"""Files above this go up in parts of this size, four at a time; a part is also what a retry repeats."""

_CHUNK = 1 << 20
_ATTEMPTS = 5
_WRITER = "viralsync-writer"


class S3Store:
    """Objects `prefix/key` in one bucket. `client` is a boto3 S3 client; it is set to what compatible servers need.

    public_url: base address under which `key` is readable without a signature, else links are signed.
    sleep, token: waiting between tries and naming writers, given in so that a caller can decide them.
    Raises StoreError and ObjectMissing as the protocol says. put_if_absent has exactly one winner on services that honour
    `If-None-Match: *` (AWS, R2, MinIO, SeaweedFS, ...); on others two writers in the same instant may both be told they won.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str = "",
        *,
        public_url: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._client = suit_compatibles(client)
        self._bucket = bucket
        self._prefix = f"{checked_key(prefix)}/" if prefix else ""
        self._public_url = public_url.rstrip("/") if public_url else None
        self._sleep = sleep
        self._token = token

    def put_file(self, key: str, path: Path, *, content_type: str | None = None, take: bool = False) -> Stat:
        name = self._name(key)
        kind = content_type or content_type_of(key)
        try:
            file = path.open("rb")
        except OSError as error:
            raise files.unreadable(error, path, key) from error
        with file:
            size = os.fstat(file.fileno()).st_size
            stat = self._put(key, file, kind) if size <= MULTIPART_BYTES else self._put_in_parts(key, name, path, kind)
        if stat.size != size:
            raise StoreError(f"{key} should have {size} bytes, but {stat.size} arrived in bucket {self._bucket}. Run it again.")
        if take:
            path.unlink(missing_ok=True)
        return stat

    def put_bytes(self, key: str, data: bytes, *, content_type: str | None = None) -> Stat:
        return self._put(key, data, content_type or content_type_of(key))

    def put_if_absent(self, key: str, data: bytes, *, content_type: str | None = None) -> bool:
        # Some services ignore the condition and overwrite: asking first keeps an object that is there safe even on those.
        if self.stat(key) is not None:
            return False
        kind = content_type or content_type_of(key)
        token = self._token()
        condition: dict[str, str] = {"IfNoneMatch": "*"}
        for attempt in range(_ATTEMPTS):
            with translated(self._bucket, key):
                try:
                    self._client.put_object(
                        Bucket=self._bucket,
                        Key=self._name(key),
                        Body=data,
                        ContentType=kind,
                        Metadata={_WRITER: token},
                        **condition,
                    )
                    return True if condition else self._is_mine(key, token)
                except ClientError as error:
                    status = status_of(error)
                    if status == 412:
                        # Either somebody was first, or our own first try arrived and only its answer was lost.
                        return self._is_mine(key, token)
                    if status == 409 and attempt + 1 < _ATTEMPTS:
                        self._sleep(0.1 * 2**attempt)  # AWS says so while another conditional write is under way
                    elif condition and status in {400, 501}:
                        condition = {}  # the service does not know conditional writes
                    else:
                        raise
        raise StoreError(f"{key} is being written by others all the time; run it again.")

    def get_bytes(self, key: str) -> bytes:
        return b"".join(self._read(key, 0, None))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise ValueError(f"a range begins at 0 or later and is not negative: {start}, {length}")
        if length == 0:
            # HTTP has no empty range; the key must exist all the same.
            if self.stat(key) is None:
                raise ObjectMissing(f"there is no {key} in bucket {self._bucket}.")
            return b""
        return b"".join(self._read(key, start, start + length))

    def fetch(self, key: str, to: Path) -> Path:
        with files.translated(str(to)), files.temporary_beside(to) as (temporary, out):
            for chunk in self._read(key, 0, None):
                out.write(chunk)
            out.flush()
            temporary.replace(to)
        return to

    def local_path(self, key: str) -> Path | None:
        self._name(key)
        return None

    def stat(self, key: str) -> Stat | None:
        try:
            with translated(self._bucket, key):
                head = self._client.head_object(Bucket=self._bucket, Key=self._name(key))
        except ObjectMissing:
            return None
        return Stat(head["ContentLength"], head["ETag"].strip('"'), head["LastModified"].astimezone(UTC))

    def delete(self, key: str) -> None:
        with contextlib.suppress(ObjectMissing), translated(self._bucket, key):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    def list(self, prefix: str) -> Iterator[str]:
        checked_prefix(prefix)
        return self._keys(prefix)

    def url(self, key: str, *, expires_s: int = 3600) -> str:
        if self._public_url:
            checked_key(key)
            return f"{self._public_url}/{quote(key)}"
        with translated(self._bucket, key):
            params = {"Bucket": self._bucket, "Key": self._name(key)}
            return str(self._client.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_s))

    def sweep(self, older_than_s: float, now: datetime) -> int:
        """Abort multipart uploads that began that long ago; their parts are paid for and listed nowhere else."""
        swept = 0
        with translated(self._bucket, "unfinished uploads"):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._prefix):
                for upload in page.get("Uploads", []):
                    if (now - upload["Initiated"]).total_seconds() > older_than_s:
                        self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                        swept += 1
        return swept

    def _name(self, key: str) -> str:
        name = self._prefix + checked_key(key)
        fault = key_fault(name)
        if fault:
            raise StoreError(f"{key!r} cannot be used under {self._prefix!r}: {fault}.", code="STORE_KEY_INVALID")
        return name

    def _put(self, key: str, body: bytes | BinaryIO, content_type: str) -> Stat:
        size = len(body) if isinstance(body, bytes) else os.fstat(body.fileno()).st_size
        with translated(self._bucket, key):
            answer = self._client.put_object(Bucket=self._bucket, Key=self._name(key), Body=body, ContentType=content_type)
        # The answer says all but the time, which is its own date: no second request to learn it.
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if date is None:
            return self.stat(key) or Stat(size, answer["ETag"].strip('"'), datetime.fromtimestamp(0, UTC))
        return Stat(size, answer["ETag"].strip('"'), parsedate_to_datetime(date).astimezone(UTC))

    def _put_in_parts(self, key: str, name: str, path: Path, content_type: str) -> Stat:
        plan = TransferConfig(multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES, max_concurrency=4)
        # By file name, not file object: then parts are read from disk as they are sent, and memory stays flat.
        # The manager aborts the upload when a part fails for good; after kill -9 `sweep` does.
        with translated(self._bucket, key), create_transfer_manager(self._client, plan) as manager:
            manager.upload(str(path), self._bucket, name, {"ContentType": content_type}).result()
        stat = self.stat(key)
        if stat is None:
            raise StoreError(f"bucket {self._bucket} took {key}, but does not have it. Run it again.")
        return stat

    def _is_mine(self, key: str, token: str) -> bool:
        with translated(self._bucket, key):
            head = self._client.head_object(Bucket=self._bucket, Key=self._name(key))
        return bool(head["Metadata"].get(_WRITER) == token)

    def _read(self, key: str, start: int, end: int | None) -> Iterator[bytes]:
        """The bytes in [start, end) in chunks. A broken connection is taken up again where it broke, on the same version."""
        at, tag, expected = start, None, None
        for attempt in range(_ATTEMPTS):
            wanted: dict[str, str] = {"IfMatch": tag} if tag else {}
            if at or end is not None:
                wanted["Range"] = f"bytes={at}-{'' if end is None else end - 1}"
            try:
                with translated(self._bucket, key):
                    try:
                        answer = self._client.get_object(Bucket=self._bucket, Key=self._name(key), **wanted)
                    except ClientError as error:
                        if status_of(error) == 416:
                            return  # past the end
                        raise
                    if "Range" in wanted and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
                        raise StoreError(f"bucket {self._bucket} does not serve ranges, asked for {key}.", code="STORE_REFUSED")
                    tag = answer.get("ETag")
                    if expected is None and "ContentLength" in answer:
                        expected = at + answer["ContentLength"]
                    with contextlib.closing(answer["Body"]) as body:
                        for chunk in body.iter_chunks(_CHUNK):
                            at += len(chunk)
                            yield chunk
                if expected is None or at == expected:
                    return
                fault = StoreError(f"it ended after {at - start} of {expected - start} bytes")
            except StoreError as error:
                if tag is None or not isinstance(error.__cause__, HTTPClientError | IncompleteReadError | HTTPError):
                    raise
                if at == expected:
                    return
                fault = error
            if attempt + 1 < _ATTEMPTS:
                self._sleep(0.1 * 2**attempt)
        raise StoreError(
            f"{key} broke off {_ATTEMPTS} times while it was read from bucket {self._bucket} ({fault.message}). "
            "Check the network; running it again is safe."
        )

    def _keys(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2")
        with translated(self._bucket, f"the list of {prefix}"):
            found = [
                entry["Key"].removeprefix(self._prefix)
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
                for entry in page.get("Contents", [])
            ]
        # AWS and R2 list in this order already; SeaweedFS goes folder by folder and puts "a/b" before "a-b".
        yield from sorted(key for key in found if key_fault(key) is None)
