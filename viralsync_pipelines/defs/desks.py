"""The desk that generating works at, as the environment names its parts. Shared by Dagster's sensor and ops, and the gateway.

What belongs here: putting it together. What does not: any part of it (generate/).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from viralsync_pipelines.board.ledger_jobs import LedgerJobs
from viralsync_pipelines.board.reported import ReportedJobs
from viralsync_pipelines.board.results import output_url_at
from viralsync_pipelines.defs.late import LOOPBACK, doors
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.desk import Desk
from viralsync_pipelines.generate.ledger import Ledger
from viralsync_pipelines.generate.models import load_registry
from viralsync_pipelines.generate.sealing import SEALING, unsealer
from viralsync_pipelines.generate.waits import Waits
from viralsync_pipelines.jobs.callbacks import LOCAL_GATEWAY
from viralsync_pipelines.storage.accounts import Accounts

if TYPE_CHECKING:
    from viralsync_pipelines.generate.provider import Provider
    from viralsync_pipelines.settings import Settings
    from viralsync_pipelines.storage.database import Database
    from viralsync_pipelines.storage.store import Store

# Where `viralsync up` has the sandbox.
SANDBOX = "http://127.0.0.1:3002/v1"
# Under which the database keeps what signs our addresses.
_SIGNING = "generate"


def open_desk(
    settings: Settings, database: Database, store: Store, now_ms: Callable[[], int], *, reported: ReportedJobs | None = None
) -> Desk:  # fmt: skip
    """As the settings say. reported: where the jobs are told of, when the caller has one that it reads them by."""
    from viralsync_pipelines.http import open_client

    told = reported or ReportedJobs(database, now_ms, output_url=output_url_at(settings.api_base_url or settings.local_gateway))
    accounts = Accounts(database, now_ms)
    local_url = settings.local_gateway or LOCAL_GATEWAY
    bases = {"sandbox": SANDBOX, **settings.provider_bases}
    near = {name: base for name, base in bases.items() if name == "sandbox" or urlsplit(base).hostname in LOOPBACK}
    allow = (*settings.allow_hosts, *doors([*near.values(), local_url]))
    return Desk(
        ledger=Ledger(database, LedgerJobs(told, now_ms), now_ms, random.random, waits_of(settings)),
        calls=Calls(open_client(allow=allow, read_s=60.0), settings.provider_keys, settings.provider_bases, now_ms),
        providers=providers(settings.provider_bases),
        registry=load_registry(settings.models_file),
        store=store,
        secret=accounts.shared_secret(_SIGNING),
        base_url=settings.api_base_url or "",
        local_url=local_url,
        unseal=unsealer(accounts.shared_secret(SEALING)),
        near=frozenset(near),
    )


def waits_of(settings: Settings) -> Waits:
    """VIRALSYNC_POLL_INITIAL_S, _FACTOR, _CEILING_S and _MOST over the usual waits."""
    return Waits(**dict[str, Any](settings.poll_waits))


def providers(bases: Mapping[str, str]) -> Mapping[str, Provider]:
    """Every adapter by its name. The sandbox speaks Replicate's protocol at its own address, and takes any key."""
    from viralsync_pipelines.generate.providers.elevenlabs import ElevenLabs
    from viralsync_pipelines.generate.providers.fal import Fal
    from viralsync_pipelines.generate.providers.google import Google
    from viralsync_pipelines.generate.providers.heygen import HeyGen
    from viralsync_pipelines.generate.providers.luma import Luma
    from viralsync_pipelines.generate.providers.openai import OpenAI
    from viralsync_pipelines.generate.providers.replicate import BASE, Replicate
    from viralsync_pipelines.generate.providers.runway import Runway

    replicate = Replicate("replicate", bases.get("replicate", BASE))
    sandbox = Replicate("sandbox", bases.get("sandbox", SANDBOX), None)
    known: list[Provider] = [replicate, Fal(), Google(), OpenAI(), ElevenLabs(), Runway(), Luma(), HeyGen(), sandbox]
    return {each.name: each for each in known}
