"""Dagster resources: configuration in, plain objects out. Domain code never sees Dagster's classes.

What belongs here: resources and the IO manager of small values. Each reads the environment when a step starts, never at import.
"""

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.studio import Studio, open_studio
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.keys import value_key
from viralsync_pipelines.storage.store import Store, open_store


def settings_now() -> Settings:
    """The settings of this process."""
    return Settings.from_env(os.environ, cwd=Path.cwd())


def store_of(settings: Settings) -> Store:
    """The store that the settings name; buckets are reached through dagster-aws's S3Resource."""
    if settings.store.startswith("file://"):
        return open_store(settings.store, None)
    # dagster-aws brings every service of AWS along: 1.5 CPU-s to import, which a local store never pays.
    from dagster_aws.s3 import S3Resource

    from viralsync_pipelines.defs.store import StoreResource

    s3 = S3Resource(
        region_name=None if settings.s3_region == "auto" and settings.s3_url is None else settings.s3_region,
        endpoint_url=settings.s3_url,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
    )
    return StoreResource(url=settings.store, s3=s3, public_url=settings.s3_public_url).create_store()


class StudioResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The studio of this machine: its store, caches, fonts and voices, as the environment names them."""

    def create_studio(self) -> Studio:
        settings = settings_now()
        return open_studio(settings, store_of(settings))


class StoreValues(dg.ConfigurableIOManager):
    """Hands small JSON values from step to step through the store, so that steps may run on any machine."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        key = self._key(context)
        store_of(settings_now()).put_bytes(key, json.dumps(obj).encode())

    def load_input(self, context: dg.InputContext) -> Any:
        upstream = context.upstream_output
        if upstream is None:
            raise dg.DagsterInvariantViolationError("this input has no step before it")
        return json.loads(store_of(settings_now()).get_bytes(self._key(upstream)))

    def _key(self, context: dg.OutputContext) -> str:
        if context.has_asset_key:
            parts = [*context.asset_key.path, *(context.asset_partition_key.split("|") if context.has_asset_partitions else [])]
            return "values/assets/" + "/".join(parts) + ".json"
        mapping = f"[{context.mapping_key}]" if context.mapping_key else ""
        return value_key(context.run_id, f"{context.step_key}", f"{context.name}{mapping}")
