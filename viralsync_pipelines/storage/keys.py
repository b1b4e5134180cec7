"""Where everything lies in the store: keys as pure functions, and the rules a key must obey.

What belongs here: names and their validation. No I/O; nothing here knows what is behind a store.
"""

from __future__ import annotations

import re
import unicodedata

from viralsync_pipelines.errors import StoreError

INBOX = "inbox/"
"""Prefix of the movie JSONs that people drop in; each is rendered once."""

TEMPORARY = ".tmp-"
"""Local stores write under names that begin so; no segment of a key may."""

MAX_KEY_BYTES = 1024  # S3's own limit
MAX_SEGMENT_BYTES = 240  # file systems allow 255; what is left is for suffixes of temporary names

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{16,128}")
_STEP = re.compile(r"[A-Za-z0-9_.\[\]-]{1,200}")
_CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".aac": "audio/aac",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".json": "application/json",
    ".ass": "text/x-ssa; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt; charset=utf-8",
    ".ffmeta": "text/plain; charset=utf-8",
}


def plan_key(job_id: str) -> str:
    return f"render-plans/{checked_id(job_id)}/plan.json"


def attempt_plan_key(job_id: str, sha256: str) -> str:
    """The plan of a job's later attempt, where it is not the first one's."""
    return f"render-plans/{checked_id(job_id)}/plan-{checked_digest(sha256)[:16]}.json"


def output_key(job_id: str) -> str:
    return f"outputs/{checked_id(job_id)}/output.mp4"


def thumbnail_key(job_id: str) -> str:
    return f"outputs/{checked_id(job_id)}/thumbnail.jpg"


def poster_key(job_id: str) -> str:
    return f"outputs/{checked_id(job_id)}/poster.jpg"


def captions_key(job_id: str, name: str) -> str:
    """A caption file beside a film. name: captions.srt and so on."""
    return checked_key(f"outputs/{checked_id(job_id)}/{name}")


def contact_sheet_key(job_id: str) -> str:
    return f"outputs/{checked_id(job_id)}/contact-sheet.jpg"


def clip_key(digest: str) -> str:
    """A rendered scene or transition, by the hash of everything that decides its frames."""
    return _by_content("cache/clips", digest, ".mp4")


def clip_picture_key(digest: str) -> str:
    """A small picture of a rendered scene, beside its clip."""
    return _by_content("cache/clips", digest, ".jpg")


def clip_ends_key(digest: str) -> str:
    """The frames at both ends of a clip, small and grey, beside it."""
    return _by_content("cache/clips", digest, ".ends")


def source_key(sha256: str) -> str:
    """The bytes of an input as they came, by their own sha256."""
    return _by_content("cache/sources", sha256, "")


def speech_key(digest: str) -> str:
    """A spoken line."""
    return _by_content("cache/speech", digest, ".wav")


def speech_timings_key(digest: str) -> str:
    """The word timings beside a spoken line."""
    return _by_content("cache/speech", digest, ".json")


def sound_key(digest: str) -> str:
    """A finished mix, encoded once."""
    return _by_content("cache/sounds", digest, ".m4a")


def film_cache_key(digest: str) -> str:
    """A finished film, by the content of its pieces and sound."""
    return _by_content("cache/films", digest, ".mp4")


def film_notes_key(digest: str) -> str:
    """What was measured of a finished film; written after it, so that notes in the store mean a whole film."""
    return _by_content("cache/films", digest, ".json")


def movie_key(movie_id: str) -> str:
    """The newest JSON of a registered movie."""
    return f"movies/{checked_id(movie_id)}.json"


def movie_version_key(movie_id: str, sha256: str) -> str:
    return f"movies/{checked_id(movie_id)}/{checked_digest(sha256)}.json"


def channel_key(channel: str) -> str:
    """What is kept of a channel, such as how its movies are spoken."""
    return f"channels/{checked_id(channel)}.json"


def inbox_key(name: str) -> str:
    return checked_key(f"{INBOX}{name}")


def media_key(sha256: str, ext: str) -> str:
    """What was generated or narrated, by the content. ext: without a dot."""
    return _by_content("media", sha256, f".{ext}")


def manifest_key(record_id: str) -> str:
    """Whose the outputs of a plan's job are, and where they lie."""
    return f"outputs/{checked_id(record_id)}/outputs.json"


def words_key(job_id: str) -> str:
    """What a narration came to, words and all."""
    return f"outputs/{checked_id(job_id)}/words.json"


def narration_key(job_id: str, name: str) -> str:
    """A file that a narration put out; `script.json` is what it says now, line by line, whatever it said at first."""
    return checked_key(f"outputs/{checked_id(job_id)}/{name}")


def script_key(sha256: str) -> str:
    """What a narration has to say, as its run is given it."""
    return _by_content("narrations", sha256, ".json")


def value_key(run_id: str, step: str, output: str) -> str:
    """A small value that one step hands to another. `step` is Dagster's step key, as in `movie.scene[hook_1]`."""
    for part in (step, output):
        if not _STEP.fullmatch(part) or part.startswith("."):
            raise _invalid(part, "a step is named with letters, digits, _ . - and brackets")
    return f"values/{checked_id(run_id)}/{step}/{output}.json"


def content_type_of(key: str) -> str:
    """What a browser should take the object for. Fixed here, so that it does not depend on the machine's tables."""
    dot = key.rfind(".")
    return _CONTENT_TYPES.get(key[dot:].lower() if dot >= 0 else "", "application/octet-stream")


def checked_id(value: str) -> str:
    """A movie, job or run id as it is, or StoreError STORE_KEY_INVALID."""
    if not _ID.fullmatch(value):
        raise _invalid(value, "an id is 1 to 64 letters, digits, _ and -")
    return value


def checked_digest(value: str) -> str:
    """A lower-case hex digest without algorithm prefix, or StoreError STORE_KEY_INVALID."""
    if not _DIGEST.fullmatch(value):
        raise _invalid(value, "a digest is 16 to 128 lower-case hex digits, without 'sha256:'")
    return value


def checked_key(key: str) -> str:
    """The key as it is, or StoreError STORE_KEY_INVALID saying what is wrong with it."""
    fault = key_fault(key)
    if fault:
        raise _invalid(key, fault)
    return key


def checked_prefix(prefix: str) -> str:
    """Like checked_key for the beginning of keys: empty, cut off anywhere, or with a slash at the end."""
    # Filling up the last segment makes a whole key of it; every folder named in the prefix is checked as it stands.
    fault = key_fault(f"{prefix}x")
    if fault:
        raise _invalid(prefix, fault)
    return prefix


def key_fault(key: str) -> str | None:
    """Why this cannot be a key, or None. Strict enough that a key is also a path below a folder on every system."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if len(encoded) > MAX_KEY_BYTES:
        return f"it is {len(encoded)} bytes long; the limit is {MAX_KEY_BYTES}"
    if any(unicodedata.category(char) == "Cc" for char in key) or "\\" in key:
        return "control characters and backslashes are not allowed"
    if "\ufffe" in key or "\uffff" in key:
        return "U+FFFE and U+FFFF are not allowed: bucket listings are XML, which has no place for them"
    for segment in key.split("/"):
        if segment in {"", ".", ".."}:
            return "it is empty, begins or ends with '/', or has an empty, '.' or '..' segment"
        if segment.startswith(TEMPORARY):
            return f"names that begin with {TEMPORARY!r} belong to the store"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"a segment is longer than {MAX_SEGMENT_BYTES} bytes"
    return None


def _by_content(folder: str, digest: str, suffix: str) -> str:
    # Two digits of fan-out: 100,000 clips make 256 folders of 400.
    return f"{folder}/{checked_digest(digest)[:2]}/{digest}{suffix}"


def _invalid(value: str, why: str) -> StoreError:
    shown = f"{value[:77]}..." if value[80:] else value
    return StoreError(f"{shown!r} cannot be used in a store key: {why}.", code="STORE_KEY_INVALID")
