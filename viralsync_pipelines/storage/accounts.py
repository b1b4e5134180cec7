"""Workspaces and their API keys: made, listed, revoked and found.

What belongs here: the rows. What does not: reading a request's headers (gateway/auth.py), what a plan allows (gateway/plans.py).
A key is 32 random characters, 190 bits: sha256 is enough to keep it by, since nobody can try them all. A slow hash is for passwords.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select, update

from viralsync_pipelines.errors import ViralsyncError
from viralsync_pipelines.storage.database import insert_once
from viralsync_pipelines.storage.tables import api_keys, kept_secrets, workspaces

if TYPE_CHECKING:
    from viralsync_pipelines.storage.database import Database

KEY_PREFIX = "vs_prod_"
KEY_CHARACTERS = 32
DEFAULT_WORKSPACE = "default"
DEFAULT_PLAN = "selfhosted"
_BASE62 = string.ascii_letters + string.digits
_KEY = re.compile(KEY_PREFIX + f"[A-Za-z0-9]{{{KEY_CHARACTERS}}}")
_WORKSPACE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AccountError(ViralsyncError):
    """A workspace or key that cannot be made or found: WORKSPACE_INVALID, KEY_NAME_INVALID, KEY_NOT_FOUND."""

    code = "KEY_NOT_FOUND"


@dataclass(frozen=True)
class Workspace:
    """Jobs, outputs and keys of one workspace are never seen from another. webhook_secret: `whsec_` + base64; signs its callbacks."""

    id: str
    plan: str
    webhook_secret: str
    created_ms: int


@dataclass(frozen=True)
class ApiKey:
    """A key as it is kept: `shown` are its first characters, to tell keys apart; the rest is not to be had any more."""

    id: str
    workspace: str
    name: str
    shown: str
    read_only: bool
    created_ms: int
    revoked_ms: int | None = None


@dataclass(frozen=True)
class Accounts:
    """The rows of one database. random_text(n): n base62 characters that nobody can guess."""

    database: Database
    now_ms: Callable[[], int]
    random_text: Callable[[int], str] = lambda count: "".join(secrets.choice(_BASE62) for _ in range(count))
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    def workspace(self, workspace_id: str) -> Workspace | None:
        """None when there is none. `default` always exists: it is made when first asked for."""
        with self.database.reading() as connection:
            row = connection.execute(select(workspaces).where(workspaces.c.id == workspace_id)).mappings().first()
        if row is None:
            return self.ensure_workspace(DEFAULT_WORKSPACE) if workspace_id == DEFAULT_WORKSPACE else None
        return Workspace(**row)

    def ensure_workspace(self, workspace_id: str, plan: str | None = None) -> Workspace:
        """The workspace, made when it is new. A `plan` that is given becomes its plan; a new one without is `selfhosted`."""
        if _WORKSPACE.fullmatch(workspace_id) is None:
            raise AccountError(
                f"{workspace_id[:80]!r} is no name for a workspace; use 1 to 64 letters, digits, '-' and '_'", code="WORKSPACE_INVALID"
            )
        made = {
            "id": workspace_id, "plan": plan or DEFAULT_PLAN, "created_ms": self.now_ms(),
            "webhook_secret": "whsec_" + base64.b64encode(self.random_bytes(32)).decode(),
        }  # fmt: skip
        with self.database.writing() as connection:
            if not insert_once(connection, workspaces, made) and plan is not None:
                connection.execute(update(workspaces).where(workspaces.c.id == workspace_id).values(plan=plan))
            row = connection.execute(select(workspaces).where(workspaces.c.id == workspace_id)).mappings().one()
        return Workspace(**row)

    def create_key(self, name: str, workspace: str = DEFAULT_WORKSPACE, *, read_only: bool = False) -> tuple[str, ApiKey]:
        """A new key, in full for the only time, and its row. The workspace is made when it is new."""
        if not name.strip() or len(name) > 200:
            raise AccountError("a key needs a name of 1 to 200 characters; say who or what will use it", code="KEY_NAME_INVALID")
        self.ensure_workspace(workspace)
        secret = KEY_PREFIX + self.random_text(KEY_CHARACTERS)
        key = ApiKey(
            id="key_" + self.random_bytes(6).hex(), workspace=workspace, name=name.strip(), shown=secret[: len(KEY_PREFIX) + 4],
            read_only=read_only, created_ms=self.now_ms(),
        )  # fmt: skip
        with self.database.writing() as connection:
            connection.execute(api_keys.insert().values(**vars(key), sha256=_digest(secret)))
        return secret, key

    def list_keys(self, workspace: str | None = None) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        chosen = select(api_keys).order_by(api_keys.c.created_ms, api_keys.c.id)
        if workspace is not None:
            chosen = chosen.where(api_keys.c.workspace == workspace)
        with self.database.reading() as connection:
            return [_key(row) for row in connection.execute(chosen).mappings()]

    def revoke(self, key_id: str) -> ApiKey:
        """The key as it stands after it. Revoking twice is fine; KEY_NOT_FOUND when there is none with this id."""
        with self.database.writing() as connection:
            connection.execute(
                update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_ms.is_(None)).values(revoked_ms=self.now_ms())
            )
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).mappings().first()
        if row is None:
            raise AccountError(f"there is no key {key_id[:80]!r}; `viralsync keys list` shows the ids")
        return _key(row)

    def find(self, secret: str) -> tuple[ApiKey, Workspace] | None:
        """The key with these characters and its workspace, revoked ones too; None for what is no key. One look into a unique index."""
        if _KEY.fullmatch(secret) is None:
            return None
        return self._one(api_keys.c.sha256 == _digest(secret))

    def find_by_id(self, key_id: str) -> tuple[ApiKey, Workspace] | None:
        """As `find`, for a key that has shown itself before."""
        return self._one(api_keys.c.id == key_id)

    def any_key(self) -> bool:
        """Whether a key was ever made. Revoked ones count: taking the last key away must not open the door to everybody."""
        with self.database.reading() as connection:
            return connection.execute(select(api_keys.c.id).limit(1)).first() is not None

    def any_usable_key(self) -> bool:
        with self.database.reading() as connection:
            return connection.execute(select(api_keys.c.id).where(api_keys.c.revoked_ms.is_(None)).limit(1)).first() is not None

    def shared_secret(self, name: str) -> bytes:
        """32 random bytes under a name, made when first asked for and the same for every process on this database."""
        with self.database.reading() as connection:
            value = connection.execute(select(kept_secrets.c.value).where(kept_secrets.c.name == name)).scalar()
        if value is None:
            with self.database.writing() as connection:
                insert_once(connection, kept_secrets, {"name": name, "value": self.random_bytes(32).hex()})
                value = connection.execute(select(kept_secrets.c.value).where(kept_secrets.c.name == name)).scalar_one()
        return bytes.fromhex(value)

    def _one(self, condition: ColumnElement[bool]) -> tuple[ApiKey, Workspace] | None:
        with self.database.reading() as connection:
            row = connection.execute(select(api_keys).where(condition)).mappings().first()
            if row is None:
                return None
            home = connection.execute(select(workspaces).where(workspaces.c.id == row["workspace"])).mappings().one()
        return _key(row), Workspace(**home)


def _key(row: Any) -> ApiKey:
    return ApiKey(**{name: value for name, value in row.items() if name != "sha256"})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
