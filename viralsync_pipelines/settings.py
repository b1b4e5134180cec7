"""The environment, read in one place: every name that ViralSync understands, with its default and what is wrong with a bad value.

What belongs here: names and parsing. What does not: opening anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from viralsync_pipelines.errors import SettingsError


@dataclass(frozen=True)
class Settings:
    """home: state of this machine (VIRALSYNC_HOME). store: where everything made is kept (VIRALSYNC_STORE).

    media_roots: folders whose files any movie may use (VIRALSYNC_MEDIA, separated by ":"). allow_hosts: private addresses
    that sources may be fetched from (VIRALSYNC_ALLOW_HOSTS, separated by ","). font_dirs: folders of fonts (VIRALSYNC_FONTS).
    """

    home: Path
    store: str
    database_url: str | None = None
    s3_access_key: str | None = None
    s3_secret_key: str | None = dataclasses.field(default=None, repr=False)
    s3_url: str | None = None
    s3_region: str = "auto"
    s3_public_url: str | None = None
    media_roots: tuple[Path, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    font_dirs: tuple[Path, ...] = ()

    @staticmethod
    def from_env(environ: Mapping[str, str], *, cwd: Path) -> Settings:
        """Raises SettingsError that names the variable."""
        home = Path(environ.get("VIRALSYNC_HOME") or ".viralsync").expanduser()
        home = home if home.is_absolute() else cwd / home
        store = environ.get("VIRALSYNC_STORE") or (home / "store").as_uri()
        if not store.startswith(("file://", "s3://")):
            raise SettingsError(f"VIRALSYNC_STORE is {store!r}; write file:///absolute/folder or s3://bucket/prefix")
        if store.startswith("s3://") and bool(environ.get("S3_ACCESS_KEY")) != bool(environ.get("S3_SECRET_KEY")):
            raise SettingsError("S3_ACCESS_KEY and S3_SECRET_KEY go together; set both, or neither to use boto3's own chain")
        return Settings(
            home=home,
            store=store,
            database_url=environ.get("DATABASE_URL") or None,
            s3_access_key=environ.get("S3_ACCESS_KEY") or None,
            s3_secret_key=environ.get("S3_SECRET_KEY") or None,
            s3_url=environ.get("S3_URL") or None,
            s3_region=environ.get("S3_REGION") or "auto",
            s3_public_url=environ.get("S3_PUBLIC_URL") or None,
            media_roots=_paths(environ.get("VIRALSYNC_MEDIA"), cwd),
            allow_hosts=tuple(h.strip() for h in (environ.get("VIRALSYNC_ALLOW_HOSTS") or "").split(",") if h.strip()),
            font_dirs=_paths(environ.get("VIRALSYNC_FONTS"), cwd),
        )

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps its own state."""
        return self.home / "dagster"


def _paths(value: str | None, cwd: Path) -> tuple[Path, ...]:
    return tuple(cwd / Path(p).expanduser() for p in (value or "").split(":") if p)
