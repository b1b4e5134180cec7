"""The code location: what Dagster loads. This module stays this short on purpose; definitions are built in defs/build.py."""

from viralsync_pipelines.defs.build import build_defs

defs = build_defs()
