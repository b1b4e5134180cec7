"""`viralsync keys create|list|revoke|secret`: API keys of the gateway, and the secret that signs a workspace's callbacks.

What belongs here: these commands and what they print. What does not: how keys are kept (storage/accounts.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import ArgumentsWrong, json_argument

if TYPE_CHECKING:
    from viralsync_pipelines.settings import Settings
    from viralsync_pipelines.storage.accounts import Accounts, ApiKey


def add_to(commands: Any) -> None:
    """The commands' arguments."""
    keys = commands.add_parser("keys", help="make, list and revoke API keys of the gateway")
    inner = keys.add_subparsers(title="commands", metavar="<command>", required=True)
    create = inner.add_parser("create", help="make a key; it is shown once")
    create.add_argument("name", help="who or what will use it")
    create.add_argument("--workspace", default="default", help="the workspace whose jobs it sees; made when it is new (default: default)")
    create.add_argument("--plan", help="the plan of the workspace, also when it has another (a new workspace: selfhosted)")
    create.add_argument("--read-only", action="store_true", help="a key that may look, and change nothing")
    json_argument(create)
    create.set_defaults(run=create_command)
    show = inner.add_parser("list", help="list keys, revoked ones too")
    show.add_argument("--workspace", help="only keys of this workspace")
    json_argument(show)
    show.set_defaults(run=list_command)
    revoke = inner.add_parser("revoke", help="take a key back; requests with it are refused within a second")
    revoke.add_argument("id", help="the key's id, as `viralsync keys list` shows it")
    json_argument(revoke)
    revoke.set_defaults(run=revoke_command)
    secret = inner.add_parser("secret", help="show the secret that signs a workspace's callbacks; it is shown nowhere else")
    secret.add_argument("--workspace", default="default", help="the workspace whose callbacks it signs (default: default)")
    json_argument(secret)
    secret.set_defaults(run=secret_command)


def create_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.gateway.plans import load_plans

    known = load_plans(settings.plans_file).by_name
    if args.plan is not None and args.plan not in known:
        raise ArgumentsWrong(f"there is no plan {args.plan!r}; the plans are {', '.join(sorted(known))}", code="PLAN_UNKNOWN")
    with _accounts(settings) as accounts:
        secret, key = accounts.create_key(args.name, args.workspace, read_only=args.read_only)
        # After the key: a name that is refused changes no plan.
        workspace = accounts.ensure_workspace(args.workspace, args.plan)
    if args.json:
        print(json.dumps({"key": secret, **_as_json(key), "plan": workspace.plan}))
    else:
        may = "may read" if key.read_only else "may read and write"
        print(secret)
        print(f"This is the only time it is shown. It {may} in the workspace {workspace.id} (plan {workspace.plan}); its id is {key.id}.")
    return 0


def list_command(args: argparse.Namespace, settings: Settings) -> int:
    with _accounts(settings) as accounts:
        keys = accounts.list_keys(args.workspace)
    if args.json:
        print(json.dumps({"keys": [_as_json(key) for key in keys]}))
    elif not keys:
        print("No keys yet; make one with `viralsync keys create NAME`.")
    else:
        rows = [("ID", "KEY", "WORKSPACE", "MAY", "MADE", "REVOKED", "NAME"), *map(_row, keys)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def revoke_command(args: argparse.Namespace, settings: Settings) -> int:
    with _accounts(settings) as accounts:
        key = accounts.revoke(args.id)
    print(json.dumps(_as_json(key)) if args.json else f"{key.id} ({key.name}) is revoked.")
    return 0


def secret_command(args: argparse.Namespace, settings: Settings) -> int:
    with _accounts(settings) as accounts:
        workspace = accounts.workspace(args.workspace)
    if workspace is None:
        raise ArgumentsWrong(f"there is no workspace {args.workspace!r}; `viralsync keys list` shows them", code="WORKSPACE_NOT_FOUND")
    told = {"workspace": workspace.id, "webhookSecret": workspace.webhook_secret}
    print(json.dumps(told) if args.json else workspace.webhook_secret)
    return 0


@contextmanager
def _accounts(settings: Settings) -> Iterator[Accounts]:
    """The accounts of this studio, its tables brought up to date: keys are often the first thing anybody makes."""
    from viralsync_pipelines.cli.gateway import now_ms
    from viralsync_pipelines.storage.accounts import AccountError, Accounts
    from viralsync_pipelines.storage.database import open_database

    database = open_database(settings.database_url, settings.home)
    try:
        database.migrate()
        yield Accounts(database, now_ms)
    except AccountError as error:
        raise ArgumentsWrong(error.message, code=error.code) from error
    finally:
        database.close()


def _as_json(key: ApiKey) -> dict[str, Any]:
    from viralsync_pipelines.jobs.view import iso

    return {
        "id": key.id, "name": key.name, "workspace": key.workspace, "shown": key.shown, "readOnly": key.read_only,
        "createdAt": iso(key.created_ms), "revokedAt": iso(key.revoked_ms),
    }  # fmt: skip


def _row(key: ApiKey) -> tuple[str, ...]:
    told = _as_json(key)
    revoked = (told["revokedAt"] or "-")[:10]
    may = "read" if key.read_only else "read, write"
    return key.id, f"{key.shown}...", key.workspace, may, told["createdAt"][:10], revoked, key.name
