"""Files that a command puts where the user wants them, whole or not at all.

What belongs here: copying. What does not: where they go (inputs.py).
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from viralsync_pipelines.errors import ViralsyncError

if TYPE_CHECKING:
    from viralsync_pipelines.storage.store import Store


def copy_whole(source: Path, out: Path) -> None:
    """Raises OUTPUT_UNWRITABLE."""
    _whole(out, lambda part: shutil.copyfile(source, part))


def fetch_whole(store: Store, key: str, out: Path) -> None:
    """An object of the store. Raises OUTPUT_UNWRITABLE, StoreError."""
    local = store.local_path(key)
    if local is not None:
        copy_whole(local, out)
    else:
        _whole(out, lambda part: store.fetch(key, part))


def _whole(out: Path, write: Callable[[Path], object]) -> None:
    """Beside the target first, then renamed, so that nobody ever sees half a film."""
    part = out.with_name(f".{out.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        write(part)
        part.replace(out)
    except OSError as error:
        told = f"{out} cannot be written ({error.strerror}); choose another place with -o"
        raise ViralsyncError(told, code="OUTPUT_UNWRITABLE") from error
    finally:
        part.unlink(missing_ok=True)
