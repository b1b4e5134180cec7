"""The whole error tree. Every error has a stable code and a sentence that says what to do next.

What belongs here: error classes and the `Problem` value that names one fault of a user's document.
What does not: wording of single cases (that stands where the fault is found), HTTP statuses.

    ViralsyncError
    ├── MovieInvalid            one or more Problems in the user's document
    ├── SourceError             a picture, clip, sound or font that could not be brought in
    ├── FontError               a font family or glyph that is not to be had
    ├── SpeechError             an engine that could not speak a line
    ├── CaptionsInvalid         a caption file that cannot be read; names the line
    ├── RenderError             ffmpeg or a step around it
    │   ├── FfmpegFailed        the process ended badly; keeps argv and the end of stderr
    │   ├── SceneFailed         SCENE_RENDER_FAILED, names the scene
    │   ├── ClipMissing         assembly found no clip for a planned scene
    │   └── ClipDamaged (render/assemble.py)  a clip that is not whole, or not made like the others
    ├── StoreError              the store said no
    │   └── ObjectMissing       no object under that key
    ├── DatabaseError           the project's own tables
    │   ├── DatabaseUnavailable  the server or the file cannot be reached
    │   ├── DatabaseTooNew      made by a newer ViralSync
    │   └── DatabaseBehind      not yet migrated
    ├── RenderUnavailable       Dagster is away: nothing was started
    ├── RunRefused              Dagster answered, and would not do it
    ├── JobNotFound             no job of that id here
    ├── ReportRefused           a program's report that comes at the wrong time, or is too much
    ├── AccountError (storage/accounts.py)  a key or workspace that is not as wanted
    ├── Refused (gateway/faults.py)  a request that is answered with a status
    ├── HttpError (http.py)     Transient | Permanent: a request that failed
    │   └── ApiError (client/answers.py)  what the Jobs API refused, or that nobody answers there
    ├── StillRunning (client/answers.py)  a job that did not end in the time that was given to wait for it
    ├── ExpressionError (movie/grammar.py)  a template that cannot be worked out
    └── SettingsError           an environment value that cannot be used
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One fault in a document: RFC 6901 `pointer` to the place, stable `code`, and a sentence with the remedy."""

    pointer: str
    code: str
    message: str

    def as_json(self) -> dict[str, str]:
        return {"pointer": self.pointer, "code": self.code, "message": self.message}


class ViralsyncError(Exception):
    """Base of everything raised on purpose. `code` is stable; `pointer` names the place in the document, if any."""

    code = "INTERNAL_ERROR"

    def __init__(self, message: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders inside Dagster steps; keyword-only arguments need their state carried along.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(cls: type[ViralsyncError], args: tuple[object, ...], state: dict[str, object]) -> ViralsyncError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class MovieInvalid(ViralsyncError):
    """The document has faults; `problems` lists every one of them. what: the document is, in a word."""

    code = "VALIDATION_ERROR"
    what = "movie"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  {p.pointer or '/'}  {p.code}: {p.message}" for p in self.problems)
        count = len(self.problems)
        super().__init__(f"the {self.what} has {count} problem{'' if count == 1 else 's'}:{lines}")


class SourceError(ViralsyncError):
    """A source could not be brought in: SOURCE_NOT_FOUND, SOURCE_REFUSED, SOURCE_UNREADABLE, SOURCE_CHANGED, SOURCE_TOO_LARGE,
    SOURCE_UNAVAILABLE (a server or the store is down: worth another run), DISK_FULL."""

    code = "SOURCE_UNREADABLE"


class FontError(ViralsyncError):
    """A font or glyph is missing: FONT_NOT_FOUND, GLYPH_MISSING, FONT_UNREADABLE."""

    code = "FONT_NOT_FOUND"


class SpeechError(ViralsyncError):
    """An engine could not speak: SPEECH_FAILED, SPEECH_EMPTY, SPEECH_TOO_LONG, SPEECH_TEXT_REFUSED, SPEECH_SPEED_REFUSED,
    SPEECH_PITCH_REFUSED, SPEECH_STYLE_REFUSED, SPEECH_SSML_REFUSED, SPEECH_REFUSED, VOICE_NOT_FOUND, ENGINE_NOT_FOUND; and what another
    engine may do better: SPEECH_ENGINE_MISSING, SPEECH_KEY_MISSING, SPEECH_KEY_REFUSED, SPEECH_QUOTA_EXCEEDED, SPEECH_BUSY,
    SPEECH_UNAVAILABLE, SPEECH_AUDIO_INVALID."""

    code = "SPEECH_FAILED"
    _OF_THE_ENGINE = frozenset({
        "SPEECH_ENGINE_MISSING", "SPEECH_KEY_MISSING", "SPEECH_KEY_REFUSED", "SPEECH_QUOTA_EXCEEDED", "SPEECH_BUSY", "SPEECH_UNAVAILABLE",
        "SPEECH_AUDIO_INVALID",
    })  # fmt: skip

    @property
    def others_may(self) -> bool:
        """Whether another engine may say the same line. A fault of the text is to be seen and mended, not gone round."""
        return self.code in self._OF_THE_ENGINE


class CaptionsInvalid(ViralsyncError):
    """Captions (SRT, VTT, ASS, word JSON) that cannot be read. `line`: where in the file, from 1, None when it is the whole.
    place: in JSON, where in its document. Both are in the message; `pointer` is the caller's, for where the file is named."""

    code = "CAPTIONS_INVALID"

    def __init__(self, message: str, *, line: int | None = None, place: str | None = None) -> None:
        at = f"line {line:,}: " if line is not None else f"{place}: " if place else ""
        super().__init__(at + message)
        self.line = line


class RenderError(ViralsyncError):
    """A step of the render failed."""

    code = "RENDER_FAILED"


class FfmpegFailed(RenderError):
    """ffmpeg ended badly: FFMPEG_FAILED, FFMPEG_STALLED, DISK_FULL. Keeps what is needed to run it again by hand."""

    code = "FFMPEG_FAILED"

    def __init__(self, message: str, *, argv: Sequence[str], stderr_tail: str, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.argv = tuple(argv)
        self.stderr_tail = stderr_tail


class SceneFailed(RenderError):
    """One scene could not be rendered; the message names the scene and the cause."""

    code = "SCENE_RENDER_FAILED"

    def __init__(self, scene_id: str, cause: str) -> None:
        super().__init__(f"{scene_id}: {cause}")
        self.scene_id = scene_id


class ClipMissing(RenderError):
    """A planned clip is not in the store. Run the movie again: only what is missing is rendered."""

    code = "CLIP_MISSING"


class StoreError(ViralsyncError):
    """The store refused or broke: STORE_UNAVAILABLE, STORE_REFUSED, STORE_KEY_INVALID, STORE_FILE_UNREADABLE, DISK_FULL,
    PLAN_IMMUTABLE, PLAN_CHANGED, MOVIE_NOT_FOUND."""

    code = "STORE_UNAVAILABLE"


class ObjectMissing(StoreError):
    """No object under that key."""

    code = "OBJECT_MISSING"


class DatabaseError(ViralsyncError):
    """The project's own tables cannot be used: DATABASE_REFUSED (rights, or a file that is no database), DISK_FULL."""

    code = "DATABASE_REFUSED"


class DatabaseUnavailable(DatabaseError):
    """The database does not answer, or is held by somebody else for too long. The same call may go through later."""

    code = "DATABASE_UNAVAILABLE"


class DatabaseTooNew(DatabaseError):
    """A newer ViralSync has changed the tables: this one must not touch them."""

    code = "DATABASE_TOO_NEW"


class DatabaseBehind(DatabaseError):
    """The tables are older than this code, or not there yet."""

    code = "DATABASE_BEHIND"


class RenderUnavailable(ViralsyncError):
    """Dagster does not answer, or has not loaded the code location. `unsure`: it may yet take up what was asked, since the answer
    to it was lost; ask under the same job id before asking again."""

    code = "RENDER_UNAVAILABLE"

    def __init__(self, message: str, *, unsure: bool = False) -> None:
        super().__init__(message)
        self.unsure = unsure


class RunRefused(ViralsyncError):
    """Dagster will not start, end or delete a run as it was asked to: RUN_REFUSED (its configuration), RUN_NOT_FOUND, RUN_ACTIVE."""

    code = "RUN_REFUSED"


class JobNotFound(ViralsyncError):
    """No job of that id, or none that the caller may see; never told apart."""

    code = "JOB_NOT_FOUND"


class ReportRefused(ViralsyncError):
    """A report that a job cannot take: INVALID_STATE, or VALIDATION_ERROR with `problems` when it asks for too much."""

    code = "INVALID_STATE"

    def __init__(self, message: str, *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, code="VALIDATION_ERROR" if problems else None)
        self.problems = tuple(problems)


class SettingsError(ViralsyncError):
    """A setting is missing or cannot be used; the message names the environment variable."""

    code = "SETTINGS_INVALID"
