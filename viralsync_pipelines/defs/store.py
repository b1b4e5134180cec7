"""The store as a Dagster resource, over dagster-aws's S3Resource for buckets.

What belongs here: turning configuration into a Store. What a store does is storage/'s business.
"""

from __future__ import annotations

import dagster as dg
from dagster_aws.s3 import S3Resource
from pydantic import Field

from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.storage.store import FilePlace, Store, open_store, place_of


class StoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`file:///folder`, or `s3://bucket/prefix` reached through `s3`.

    boto3 obeys the environment's proxies here, also for a service on this machine: name its host in NO_PROXY.
    """

    url: str = Field(description="file:///absolute/folder or s3://bucket/prefix.")
    s3: S3Resource | None = Field(
        default=None, description="How to reach the bucket: keys, endpoint_url and region_name ('auto' for Cloudflare R2)."
    )
    public_url: str | None = Field(
        default=None, description="Address under which the bucket's prefix is readable without a signature, if there is one."
    )

    def create_store(self) -> Store:
        """Open the store, once a step: a boto3 client takes 0.1 s to make. Raises SettingsError.

        The bucket is asked at first use, not here.
        """
        place = place_of(self.url)
        if isinstance(place, FilePlace):
            return open_store(self.url, None)
        if self.s3 is None:
            raise SettingsError(
                f"VIRALSYNC_STORE is {self.url!r}, but how to reach the bucket is not set: "
                "set S3_ACCESS_KEY, S3_SECRET_KEY and, unless it is on AWS, S3_URL."
            )
        # boto3 is needed only here.
        from viralsync_pipelines.storage.s3 import S3Store
        from viralsync_pipelines.storage.s3_client import endpoint_of

        s3 = self.s3
        if s3.endpoint_url:
            s3 = s3.model_copy(update={"endpoint_url": endpoint_of(s3.endpoint_url, place.bucket)})
        return S3Store(s3.get_client(), place.bucket, place.prefix, public_url=self.public_url)
