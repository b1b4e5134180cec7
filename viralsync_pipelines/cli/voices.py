"""`viralsync voices`: the voices of every engine, and with --channel who speaks a channel's movies.

What belongs here: this command and what it prints. What does not: engines (speech/), a channel's document (defs/voices.py).
"""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import ArgumentsWrong, json_argument
from viralsync_pipelines.cli.words import count, plain

if TYPE_CHECKING:
    from viralsync_pipelines.settings import Settings

_NUMBERS = frozenset({"speed", "pitch", "stability", "similarity"})


def add_to(commands: Any) -> None:
    """The command's arguments."""
    voices = commands.add_parser("voices", help="list the voices of every speech engine, or choose those of a channel")
    voices.add_argument("--engine", help="only this engine")
    voices.add_argument("--language", help="only voices of this language, such as de or pt-BR")
    voices.add_argument("--channel", metavar="NAME", help="show how the channel's movies are spoken instead, or with --set change it")
    fields = "engine, voice, speed, pitch, style, stability, similarity, language, fallback"
    voices.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE,...", help=f"{fields}; nothing after = takes one out")
    json_argument(voices)
    voices.set_defaults(run=voices_command)


def voices_command(args: argparse.Namespace, settings: Settings) -> int:
    if args.channel is not None:
        return _channel(args, settings)
    if args.set:
        raise ArgumentsWrong("--set changes a channel; name it with --channel NAME")
    from viralsync_pipelines.defs.voices import means_of
    from viralsync_pipelines.speech.listing import list_voices

    found = list_voices(means_of(settings), args.engine, args.language)
    if args.json:
        print(json.dumps({"engines": [_as_json(each) for each in found]}))
        return 0
    for each in found:
        if each.why is not None:
            print(f"{each.engine}: {plain(each.why)}")
            continue
        print(f"{each.engine}: {count(len(each.voices), 'voice')}")
        for voice in each.voices:
            print(f"  {plain(voice.name):<36} {plain(voice.language):<10} {plain(voice.about)}".rstrip())
    return 0


def _channel(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.defs.studio import store_without_dagster
    from viralsync_pipelines.defs.voices import keep_speech, speech_of_channel

    store = store_without_dagster(settings)
    speech = speech_of_channel(store, args.channel)
    changes = changes_of(args.set)
    if changes:
        speech = {name: value for name, value in {**speech, **changes}.items() if value is not None}
        _check_engines(speech)
        keep_speech(store, args.channel, speech)
    if args.json:
        print(json.dumps({"channel": args.channel, "speech": speech}, ensure_ascii=False))
    elif not speech:
        print(f"The channel {plain(args.channel)} leaves its voice to its movies.")
    else:
        for name, value in speech.items():
            print(f"{name:<12} {plain(', '.join(value) if isinstance(value, list) else str(value))}")
    return 0


def changes_of(pairs: list[str]) -> dict[str, Any]:
    """From `engine=edge,voice=de-DE-KatjaNeural` to fields and values, None to take one out. A comma before no field is of the value."""
    from viralsync_pipelines.movie.voicing import Speech

    fields = "|".join(Speech.model_fields)
    found: dict[str, Any] = {}
    for pair in pairs:
        for part in re.split(rf",(?=(?:{fields})=)", pair):
            name, equals, value = part.partition("=")
            if not equals or name not in Speech.model_fields:
                known = ", ".join(Speech.model_fields)
                raise ArgumentsWrong(f"--set {part!r} is not understood; write FIELD=VALUE, with one of the fields {known}")
            found[name] = _value(name, value)
    return found


def _value(name: str, value: str) -> Any:
    if not value:
        return None
    if name == "fallback":
        return [each.strip() for each in value.split(",") if each.strip()]
    if name not in _NUMBERS:
        return value
    try:
        return float(value)
    except ValueError:
        raise ArgumentsWrong(f"{name} takes a number such as 1.1, not {value!r}", code="VALUE_OUT_OF_RANGE") from None


def _check_engines(speech: dict[str, Any]) -> None:
    """Raises SpeechError ENGINE_NOT_FOUND: a name that is mistyped here would fail every movie of the channel."""
    from viralsync_pipelines.speech.engine import engine_named

    for name in (speech.get("engine"), *(each.partition("/")[0] for each in speech.get("fallback", ()))):
        engine_named(name)


def _as_json(each: Any) -> dict[str, Any]:
    voices = [{"name": voice.name, "language": voice.language or None, "about": voice.about or None} for voice in each.voices]
    return {"engine": each.engine, "usable": each.why is None, "code": each.code, "reason": each.why, "voices": voices}
