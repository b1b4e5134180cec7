"""Reaching a bucket: the endpoint, the boto3 client, and what its errors mean in our words.

What belongs here: everything that knows boto3's options and exceptions. What is done with objects is s3.py's business.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from urllib3.exceptions import HTTPError

from viralsync_pipelines.errors import ObjectMissing, SettingsError, StoreError
from viralsync_pipelines.storage.store import S3Access

# Hosts that are known to take the bucket as their first label: R2, AWS, and the many endpoints called s3.<region>.<name>.
_BUCKET_HOSTS = re.compile(r"(s3[.-].+|[^.]+\.(\w+\.)?r2\.cloudflarestorage\.com|[^.]+\.digitaloceanspaces\.com)")

_REFUSED = {
    "AccessDenied", "AllAccessDisabled", "ExpiredToken", "Forbidden", "InvalidAccessKeyId", "InvalidSecurity", "InvalidToken",
    "SignatureDoesNotMatch", "Unauthorized", "401", "403",
}  # fmt: skip
_MISSING = {"NoSuchKey", "NotFound", "404"}


def endpoint_of(url: str, bucket: str) -> str:
    """The endpoint without the bucket, however it was pasted: Cloudflare's page shows `https://<account>.r2.../<bucket>`,
    others `https://<bucket>.s3...`. Raises SettingsError naming S3_URL."""
    try:
        parts = urlsplit(url.strip())
        right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, an unfinished [IPv6] host
        right = False
    if not right or parts.query or parts.fragment or parts.username:
        raise SettingsError(
            f"S3_URL is {url!r}, which is not the address of a bucket service. "
            "Set it to something like https://<account>.r2.cloudflarestorage.com, without keys in it."
        )
    host = parts.netloc
    rest = host.removeprefix(f"{bucket}.")
    if rest != host and _BUCKET_HOSTS.fullmatch(urlsplit(f"//{rest}").hostname or ""):
        host = rest
    path = parts.path.strip("/")
    if path == bucket:
        path = ""
    elif path.endswith(f"/{bucket}"):
        path = path.removesuffix(f"/{bucket}")
    return f"{parts.scheme}://{host}" + (f"/{path}" if path else "")


def make_client(access: S3Access, bucket: str, *, tries: int = 5) -> Any:
    """A boto3 S3 client for this bucket's endpoint; each request is tried `tries` times. Raises SettingsError.

    Nothing is sent to the bucket yet. Without keys boto3 looks for them, which on a cloud machine asks its metadata service.
    """
    if (access.access_key is None) != (access.secret_key is None):
        missing = "S3_ACCESS_KEY" if access.access_key is None else "S3_SECRET_KEY"
        raise SettingsError(f"{missing} is not set, but its other half is: a bucket needs both.")
    endpoint = endpoint_of(access.endpoint_url, bucket) if access.endpoint_url else None
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=None if endpoint is None and access.region == "auto" else access.region,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": tries},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=16,
            # Path style is what every compatible server understands; boto3 chooses it by itself when there is an endpoint.
            # A proxy from the environment is for the outside: a server on this machine is asked directly.
            proxies={} if endpoint and _is_loopback(endpoint) else None,
        ),
    )
    return suit_compatibles(client)


def suit_compatibles(client: Any) -> Any:
    """Set what S3-compatible servers need on a client made elsewhere (dagster-aws has no fields for it), and return it.

    Since botocore 1.36 each PUT carries a CRC in an aws-chunked trailer by default, which R2 and others refuse or store as
    content; and presigned links are signed by the second version, which only AWS still takes.
    """
    client.meta.config.request_checksum_calculation = "when_required"
    client.meta.config.response_checksum_validation = "when_required"
    client.meta.events.register("choose-signer.s3.GetObject", _sign_links_v4, unique_id="viralsync-sign-links-v4")
    return client


def _sign_links_v4(signature_version: object = None, **_: object) -> str | None:
    return "s3v4-query" if isinstance(signature_version, str) and signature_version.endswith("-query") else None


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def status_of(error: Any) -> int:
    """HTTP status of a botocore ClientError."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextlib.contextmanager
def translated(bucket: str, what: str) -> Iterator[None]:
    """Turn boto3's exceptions into StoreError and ObjectMissing that say what to do."""
    try:
        yield
    except ClientError as error:
        raise _meaning(error, bucket, what) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        said = f"no credentials for bucket {bucket}: set S3_ACCESS_KEY and S3_SECRET_KEY."
        raise StoreError(said, code="STORE_REFUSED") from error
    except (BotoCoreError, Boto3Error, HTTPError, ConnectionError, TimeoutError) as error:
        raise StoreError(
            f"bucket {bucket} was not reached for {what}: {error}. Check S3_URL and the network; running it again is safe.",
            code="STORE_UNAVAILABLE",
        ) from error


def _meaning(error: Any, bucket: str, what: str) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    said = str(error.response.get("Error", {}).get("Message", "")) or code
    if code == "NoSuchBucket":
        return StoreError(f"there is no bucket {bucket}: create it, or correct VIRALSYNC_STORE.", code="STORE_REFUSED")
    if code in _MISSING:
        return ObjectMissing(f"there is no {what} in bucket {bucket}.")
    if code == "RequestTimeTooSkewed":
        return StoreError(f"bucket {bucket} refused {what}: this machine's clock is off ({said}).", code="STORE_REFUSED")
    if code in _REFUSED or status_of(error) in {401, 403}:
        return StoreError(
            f"bucket {bucket} refused {what} ({said}). Check S3_ACCESS_KEY, S3_SECRET_KEY and what that key may do.",
            code="STORE_REFUSED",
        )
    if status_of(error) in {408, 409, 412, 429} or status_of(error) >= 500:
        return StoreError(
            f"bucket {bucket} is not able to serve {what} now ({said}), after several tries. Running it again is safe.",
            code="STORE_UNAVAILABLE",
        )
    return StoreError(f"bucket {bucket} refused {what}: {code} {said}. Check VIRALSYNC_STORE and S3_URL.", code="STORE_REFUSED")
