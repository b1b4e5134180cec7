"""The environment, read in one place: every name that ViralSync understands, with its default and what is wrong with a bad value.

What belongs here: names and parsing. What does not: opening anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from viralsync_pipelines.errors import SettingsError

PROVIDER_KEYS = (
    "REPLICATE_API_TOKEN", "FAL_KEY", "FAL_WEBHOOK_USER_ID", "GOOGLE_GENERATIVE_AI_API_KEY", "OPENAI_API_KEY", "ELEVENLABS_API_KEY",
    "ELEVENLABS_WEBHOOK_SECRET", "RUNWAYML_API_SECRET", "LUMAAI_API_KEY", "HEYGEN_API_KEY", "HEYGEN_WEBHOOK_SECRET",
    "OPENAI_SPEECH_API_KEY",
)  # fmt: skip
_PROVIDERS = frozenset(
    {"replicate", "fal", "fal_rest", "google", "google_keys", "vertex", "openai", "openai_speech", "elevenlabs", "runway", "luma", "heygen",
     "sandbox"}
)  # fmt: skip
# Environment name -> field, factor to its unit, least and most.
_WAITS: Mapping[str, tuple[str, float, float, float]] = {
    "VIRALSYNC_POLL_INITIAL_S": ("initial_ms", 1000, 0.1, 3600), "VIRALSYNC_POLL_FACTOR": ("factor", 1, 1, 10),
    "VIRALSYNC_POLL_CEILING_S": ("ceiling_ms", 1000, 0.1, 3600), "VIRALSYNC_POLL_MOST": ("most", 1, 1, 100_000),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """home: state of this machine (VIRALSYNC_HOME). store: where everything made is kept (VIRALSYNC_STORE).

    media_roots: folders whose files any movie may use (VIRALSYNC_MEDIA, separated by ":"). allow_hosts: private addresses
    that sources may be fetched from (VIRALSYNC_ALLOW_HOSTS, separated by ","). font_dirs: folders of fonts (VIRALSYNC_FONTS).
    api_base_url: where the gateway is reached from outside (API_BASE_URL). plans_file: limits of workspaces (VIRALSYNC_PLANS).
    keep_days, keep_cache_days: how long ended jobs and unused cached files are kept by the nightly clean-up (VIRALSYNC_KEEP_DAYS,
    VIRALSYNC_KEEP_CACHE_DAYS); None is for ever. api_url, api_key: the gateway that `viralsync jobs` asks (VIRALSYNC_API_URL,
    VIRALSYNC_API_KEY). cors_origins: web sites whose pages may use the API (VIRALSYNC_CORS_ORIGINS, separated by ",").
    provider_keys: of providers of generated media, by the environment's names. provider_bases: other addresses of their APIs
    (<SERVICE>_BASE_URL), by provider. models_file: models of one's own (VIRALSYNC_MODELS). poll_waits: how providers are polled
    (VIRALSYNC_POLL_INITIAL_S, _FACTOR, _CEILING_S, _MOST). local_gateway: the gateway as programs of this machine reach it
    (VIRALSYNC_LOCAL_URL). voice_folders: of speech engines with voices on this machine (VIRALSYNC_PIPER_MODELS,
    VIRALSYNC_KOKORO_MODELS, separated by ":"). speech_models: of speech services, by engine (VIRALSYNC_OPENAI_SPEECH_MODEL,
    VIRALSYNC_ELEVENLABS_SPEECH_MODEL).
    """

    home: Path
    store: str
    database_url: str | None = dataclasses.field(default=None, repr=False)
    s3_access_key: str | None = None
    s3_secret_key: str | None = dataclasses.field(default=None, repr=False)
    s3_url: str | None = None
    s3_region: str = "auto"
    s3_public_url: str | None = None
    media_roots: tuple[Path, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    font_dirs: tuple[Path, ...] = ()
    api_base_url: str | None = None
    plans_file: Path | None = None
    keep_days: int | None = None
    keep_cache_days: int | None = None
    api_url: str | None = None
    api_key: str | None = dataclasses.field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    provider_keys: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    provider_bases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    models_file: Path | None = None
    poll_waits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    local_gateway: str | None = None
    voice_folders: Mapping[str, tuple[Path, ...]] = dataclasses.field(default_factory=dict)
    speech_models: Mapping[str, str] = dataclasses.field(default_factory=dict)

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
            database_url=_database_url(environ.get("DATABASE_URL")),
            s3_access_key=environ.get("S3_ACCESS_KEY") or None,
            s3_secret_key=environ.get("S3_SECRET_KEY") or None,
            s3_url=environ.get("S3_URL") or None,
            s3_region=environ.get("S3_REGION") or "auto",
            s3_public_url=environ.get("S3_PUBLIC_URL") or None,
            media_roots=_paths(environ.get("VIRALSYNC_MEDIA"), cwd),
            allow_hosts=tuple(h.strip() for h in (environ.get("VIRALSYNC_ALLOW_HOSTS") or "").split(",") if h.strip()),
            font_dirs=_paths(environ.get("VIRALSYNC_FONTS"), cwd),
            api_base_url=_base_url(environ.get("API_BASE_URL")),
            plans_file=cwd / Path(environ["VIRALSYNC_PLANS"]).expanduser() if environ.get("VIRALSYNC_PLANS") else None,
            keep_days=_days(environ, "VIRALSYNC_KEEP_DAYS"),
            keep_cache_days=_days(environ, "VIRALSYNC_KEEP_CACHE_DAYS"),
            cors_origins=_origins(environ.get("VIRALSYNC_CORS_ORIGINS")),
            api_url=environ.get("VIRALSYNC_API_URL") or None,
            api_key=environ.get("VIRALSYNC_API_KEY") or None,
            provider_keys={name: environ[name] for name in PROVIDER_KEYS if environ.get(name)},
            provider_bases=_bases(environ),
            models_file=cwd / Path(environ["VIRALSYNC_MODELS"]).expanduser() if environ.get("VIRALSYNC_MODELS") else None,
            poll_waits=_waits(environ),
            local_gateway=_base_url(environ.get("VIRALSYNC_LOCAL_URL"), "VIRALSYNC_LOCAL_URL"),
            voice_folders={name: _paths(environ.get(f"VIRALSYNC_{name.upper()}_MODELS"), cwd) for name in ("piper", "kokoro")},
            speech_models={
                name: environ[key] for name in ("openai", "elevenlabs") if environ.get(key := f"VIRALSYNC_{name.upper()}_SPEECH_MODEL")
            },
        )

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps its own state."""
        return self.home / "dagster"


def _paths(value: str | None, cwd: Path) -> tuple[Path, ...]:
    return tuple(cwd / Path(p).expanduser() for p in (value or "").split(":") if p)


def _days(environ: Mapping[str, str], name: str) -> int | None:
    value = environ.get(name)
    if not value:
        return None
    if not (value.isascii() and value.isdecimal() and 1 <= int(value[:9]) <= 36_500):
        raise SettingsError(f"{name} is {value!r}; write a number of days from 1 to 36500, or leave it empty to keep everything")
    return int(value)


def _origins(value: str | None) -> tuple[str, ...]:
    origins = tuple(each.strip().rstrip("/").lower() for each in (value or "").split(",") if each.strip())
    for origin in origins:
        scheme, _, place = origin.partition("://")
        if origin != "*" and (scheme not in {"http", "https"} or not place or not set(place).isdisjoint("/?#@* ")):
            raise SettingsError(f"VIRALSYNC_CORS_ORIGINS holds {origin!r}; write origins such as https://app.example.com, with commas")
    return origins


def _base_url(value: str | None, name: str = "API_BASE_URL") -> str | None:
    if not value:
        return None
    if not value.startswith(("http://", "https://")):
        raise SettingsError(f"{name} is {value!r}; write the gateway's public address, such as https://api.example.com")
    return value.rstrip("/")


def _bases(environ: Mapping[str, str]) -> dict[str, str]:
    """Addresses of APIs by provider: FAL_BASE_URL is fal's, FAL_REST_BASE_URL fal_rest's."""
    found = {}
    for name, value in environ.items():
        provider = name.removesuffix("_BASE_URL").lower()
        if name.endswith("_BASE_URL") and provider in _PROVIDERS and value:
            found[provider] = _base_url(value, name) or ""
    return found


def _waits(environ: Mapping[str, str]) -> dict[str, float]:
    """For generate.waits.Waits."""
    found: dict[str, float] = {}
    for name, (field, factor, least, most) in _WAITS.items():
        value = environ.get(name)
        if not value:
            continue
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not least <= number <= most:
            raise SettingsError(f"{name} is {value!r}; write a number from {least:g} to {most:g}")
        found[field] = number if factor == 1 and field == "factor" else round(number * factor)
    return found


def _database_url(value: str | None) -> str | None:
    """As it stands. What is wrong is told without showing the password in it."""
    if not value:
        return None
    right = "write postgresql://user:password@host:5432/name, or leave it empty for SQLite in VIRALSYNC_HOME"
    if not value.startswith(("postgresql://", "postgres://")):
        scheme, named, _ = value.partition("://")
        what = f"begins with {scheme + named!r}" if named else "names no scheme"
        raise SettingsError(f"DATABASE_URL {what}, which is no PostgreSQL address; {right}")
    try:
        _ = urlsplit(value).port
    except ValueError:
        # Without Python's own words: they quote what it took for the port, which may be the password.
        told = "DATABASE_URL has no readable port; write / as %2F, @ as %40 and : as %3A within the password"
        raise SettingsError(f"{told}, and else {right}") from None
    return value
