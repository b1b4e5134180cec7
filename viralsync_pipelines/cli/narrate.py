"""`viralsync narrate`: from a script to a sound with captions beside it, through Dagster and without a server.

What belongs here: this command. What does not: what a script is (speech/), the run (defs/narrating.py).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import ArgumentsWrong, json_argument, output_path, studio_for
from viralsync_pipelines.cli.outputs import fetch_whole
from viralsync_pipelines.cli.words import clock, count, plain

if TYPE_CHECKING:
    from viralsync_pipelines.defs.studio import Studio
    from viralsync_pipelines.orchestrator.foreground import RunEnd, StepNews
    from viralsync_pipelines.settings import Settings

# What is put beside the sound, by its ending there.
_BESIDE = {".srt": "narration.srt", ".vtt": "narration.vtt", ".words.json": "words.json", ".chapters.json": "chapters.json"}
_SOUNDS = frozenset({".wav", ".mp3"})
_MOST_BYTES = 2_000_000


def add_to(commands: Any) -> None:
    """The command's arguments."""
    narrate = commands.add_parser("narrate", help="speak a script: a sound with captions, words and chapters beside it")
    narrate.add_argument("script", type=Path, help="a script in Markdown, the JSON of a narration, or - for standard input")
    narrate.add_argument("-o", "--output", type=Path, help="where the sound goes, .wav or .mp3; the rest beside it; default <script>.wav")
    narrate.add_argument("--voice", help="who speaks; `viralsync voices` lists them")
    narrate.add_argument("--engine", help="the speech engine")
    narrate.add_argument("--speed", type=float, metavar="FACTOR", help="1 is normal, 1.2 a fifth faster")
    narrate.add_argument("--language", help="of the text, such as en or pt-BR")
    narrate.add_argument("--cast", action="append", default=[], metavar="NAME=[ENGINE/]VOICE", help="who speaks the lines of a name")
    narrate.add_argument("--gap", type=float, metavar="SECONDS", help="silence between lines")
    narrate.add_argument("--bed", metavar="FILE", help="music beneath the voice: a file or an address")
    narrate.add_argument("--bed-mode", choices=("loop", "trim", "once"), help="fill the narration, end with it, or play once")
    narrate.add_argument("--bed-volume", type=float, metavar="FACTOR", help="0 to 2; default 0.2")
    narrate.add_argument("--dictionary", type=Path, metavar="FILE", help='JSON of words and how they are said: {"SQL": "sequel"}')
    json_argument(narrate)
    narrate.set_defaults(run=narrate_command)


def narrate_command(args: argparse.Namespace, settings: Settings) -> int:
    began = time.monotonic()
    out = output_path(args.output, args.script, ".wav")
    if out.suffix.lower() not in _SOUNDS:
        raise ArgumentsWrong(f"{out.name} is neither .wav nor .mp3; choose one of them with -o", code="OUTPUT_UNWRITABLE")
    folder = Path.cwd() if str(args.script) == "-" else args.script.parent.absolute()
    studio = studio_for(settings, folder)
    spoken = speak({**_document(args.script), **_options(args, studio)}, folder, settings, studio, quiet=args.json)
    if spoken.end.status == "CANCELED":
        raise KeyboardInterrupt
    return _done(args, studio, spoken, out, began) if spoken.receipt is not None else _failed(args, spoken)


@dataclass(frozen=True)
class SpokenRun:
    """A run in the foreground, and what it came to: None when it failed. log: what it printed, gone when all went well."""

    end: RunEnd
    job_id: str
    log: Path
    receipt: dict[str, Any] | None


def speak(document: dict[str, Any], folder: Path, settings: Settings, studio: Studio, *, quiet: bool = False) -> SpokenRun:
    """Speak an order through Dagster, in this process. Raises NarrationInvalid before Dagster starts; KeyboardInterrupt."""
    from viralsync_pipelines.defs.narrated import bring_sounds
    from viralsync_pipelines.speech.narration import planned
    from viralsync_pipelines.storage.keys import narration_key, script_key

    script, narration = planned(document)
    bring_sounds(studio, script)
    data = json.dumps(script, sort_keys=True).encode()
    key = script_key(hashlib.sha256(data).hexdigest())
    studio.store.put_bytes(key, data, content_type="application/json")
    job_id = "job_" + secrets.token_hex(6)
    log = settings.home / "logs" / f"{job_id}.log"
    end = _run(settings, job_id, key, folder, log, len(narration.lines), quiet)
    if end.status != "SUCCESS":
        return SpokenRun(end, job_id, log, None)
    log.unlink(missing_ok=True)
    return SpokenRun(end, job_id, log, json.loads(studio.store.get_bytes(narration_key(job_id, "narration.json"))))


def _document(path: Path) -> dict[str, Any]:
    try:
        with contextlib.ExitStack() as stack:
            file = sys.stdin.buffer if str(path) == "-" else stack.enter_context(path.open("rb"))
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or "it is no UTF-8"
        raise ArgumentsWrong(f"{path} cannot be read ({told}); check the name, and save it as UTF-8", code="DOCUMENT_INVALID") from error
    if len(data) > _MOST_BYTES:
        raise ArgumentsWrong(f"{path} has more than {_MOST_BYTES:,} bytes; split the script", code="DOCUMENT_INVALID")
    return _object(text, path) if path.suffix.lower() == ".json" else {"script": text or " "}


def _object(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentsWrong(f"{path} is no JSON ({error})", code="DOCUMENT_INVALID") from error
    if not isinstance(found, dict):
        raise ArgumentsWrong(f"{path} holds no JSON object", code="DOCUMENT_INVALID")
    return found


def _options(args: argparse.Namespace, studio: Studio) -> dict[str, Any]:
    """What the command line says, over what the script's front matter does."""
    options = {name: getattr(args, name) for name in ("voice", "engine", "speed", "language", "gap") if getattr(args, name) is not None}
    cast: dict[str, Any] = {}
    for pair in args.cast:
        name, equals, who = pair.partition("=")
        engine, slash, voice = who.partition("/")
        if not equals or not name.strip() or not who or (slash and not voice):
            raise ArgumentsWrong(f"--cast {pair!r} is not understood; write --cast NAME=VOICE, or --cast NAME=ENGINE/VOICE")
        cast[name.strip()] = {"engine": engine, "voice": voice} if slash else {"voice": who}
    if cast:
        options["cast"] = cast
    if args.dictionary is not None:
        try:
            options["dictionary"] = _object(args.dictionary.read_text(encoding="utf-8"), args.dictionary)
        except (OSError, ValueError) as error:
            raise ArgumentsWrong(f"--dictionary {args.dictionary} cannot be read; check the name", code="DOCUMENT_INVALID") from error
    if args.bed is not None:
        asked = {"mode": args.bed_mode, "volume": args.bed_volume}
        options["bed"] = {"src": _bed(args.bed, studio), **{name: value for name, value in asked.items() if value is not None}}
    elif args.bed_mode is not None or args.bed_volume is not None:
        raise ArgumentsWrong("--bed-mode and --bed-volume need a --bed")
    return options


def _bed(given: str, studio: Studio) -> str:
    """A file is named from where the shell stands, wherever the script lies: the store keeps it for the run."""
    path = Path(given)
    if not path.is_file():
        return given
    from viralsync_pipelines.storage.keys import content_type_of, media_key

    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    ext = path.suffix[1:].lower()
    key = media_key(digest, ext if ext.isalnum() and len(ext) <= 5 else "bin")
    if studio.store.stat(key) is None:
        studio.store.put_file(key, path, content_type=content_type_of(key))
    return f"resource:{key}"


def _run(settings: Settings, job_id: str, key: str, folder: Path, log: Path, lines: int, quiet: bool) -> RunEnd:
    from viralsync_pipelines.orchestrator.quiet import stderr_aside, stdout_aside

    spoken = 0

    def news(each: StepNews) -> None:
        nonlocal spoken
        if each.step.startswith("speak_script_line") and each.kind == "success":
            spoken += 1
            if not quiet and (spoken % 10 == 0 or spoken == lines):
                print(f"{spoken} of {count(lines, 'line')} spoken", file=sys.stderr, flush=True)

    with stderr_aside(log), stdout_aside(log):
        import dagster as dg

        from viralsync_pipelines.defs.instance import open_instance
        from viralsync_pipelines.defs.narrating import narrate_text
        from viralsync_pipelines.jobs.orders import JOB_TAG
        from viralsync_pipelines.jobs.run_config import narration_config
        from viralsync_pipelines.orchestrator.foreground import run_in_foreground

        config = {**narration_config(key, str(folder)), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        with open_instance(settings, os.environ) as instance:
            try:
                job = dg.reconstructable(narrate_text)
                return run_in_foreground(instance, job, run_config=config, tags={JOB_TAG: job_id}, on_news=news)
            except dg.DagsterExecutionInterruptedError as error:
                raise KeyboardInterrupt from error


def _failed(args: argparse.Namespace, spoken: SpokenRun) -> int:
    end, log = spoken.end, spoken.log
    failures = [{"step": step, "error": text} for step, text in end.failures]
    if args.json:
        told = {"error": "the narration failed", "code": "SPEECH_FAILED", "jobId": spoken.job_id, "runId": end.run_id, "log": str(log)}
        print(json.dumps({**told, "failures": failures}))
        return 1
    for failure in failures:
        print(f"{failure['step']}: {plain(failure['error'])}", file=sys.stderr)
    words = f"The narration ended as {end.status}; spoken lines are kept: mend the cause and run the same command again."
    print(words, file=sys.stderr)
    print(f"What the run printed: {log}", file=sys.stderr)
    return 1


def _done(args: argparse.Namespace, studio: Studio, spoken: SpokenRun, out: Path, began: float) -> int:
    receipt: dict[str, Any] = spoken.receipt or {}
    files = receipt["files"]
    places = {out: files[f"narration{out.suffix.lower()}"]["key"]}
    places |= {out.with_name(out.stem + ending): files[name]["key"] for ending, name in _BESIDE.items()}
    for path, key in places.items():
        fetch_whole(studio.store, key, path)
    fresh = [line for line in receipt["lines"] if line["cache"] == "miss"]
    done = {
        "path": str(out), "files": [str(path) for path in places], "jobId": spoken.job_id, "runId": spoken.end.run_id,
        "seconds": receipt["duration"], "lines": len(receipt["lines"]), "spoken": len(fresh), "characters": receipt["characters"],
        "costUsd": receipt["costUsd"],
        "estimatedTimings": [line["number"] for line in receipt["lines"] if line["timing"] == "estimate"],
        "elapsed": round(time.monotonic() - began, 2),
    }  # fmt: skip
    if args.json:
        print(json.dumps(done))
        return 0
    cost = "" if receipt["costUsd"] == 0 else " · cost unknown" if receipt["costUsd"] is None else f" · {receipt['costUsd']:.4f} USD"
    summary = f"{clock(receipt['duration'])} · {count(len(receipt['lines']), 'line')}, {len(fresh)} spoken now{cost}"
    print(plain(f"{receipt['title'] or out.stem}  {summary}"))
    for path in places:
        print(path)
    return 0
