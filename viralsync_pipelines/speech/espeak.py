"""The embedded engine: libespeak-ng, one process per line, because the library keeps global state and may crash.

What belongs here: asking that process, ending it, and writing the WAV. What does not: markup (ssml.py), word times (words.py),
and the C calls (espeak_process.py). Importing this loads neither the library nor its package.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.speech.engine import Means, Take, Voice, refuse_unspeakable, within
from viralsync_pipelines.speech.espeak_voices import Voices, voices_in
from viralsync_pipelines.speech.sound import write_wav
from viralsync_pipelines.speech.ssml import plain_utterance, ssml_utterance
from viralsync_pipelines.speech.words import QUIET, WordEvent, timed_words

NORMAL_RATE = 175  # words a minute at speed 1
SLOWEST_RATE, FASTEST_RATE = 80, 450  # beyond these the library distorts
# The library's own scale: at 0 the lowest tones of a voice are an octave lower, at 100 one higher; its highest move less.
_NORMAL_PITCH = 50
MAX_SECONDS = 900
_CHILD = Path(__file__).with_name("espeak_process.py")


def opened(_: Means) -> EspeakEngine:
    return EspeakEngine()


@dataclass(frozen=True)
class EspeakEngine:
    """Mono 16-bit WAV at 22,050 Hz; equal lines give equal bytes.

    Voices are language codes with an optional variant: "en-us" (default), "de", "en-gb+f3"; a line without one is said by that of its
    language. pitch 0.5 to 2; style, stability and similarity are none of its own and say nothing to it.
    Leading silence (0-50 ms, the closure of a first consonant) is left in: word times count from the start of the file.
    python: the interpreter that runs the child. timeout_s: wall seconds for one line; a six-minute one takes 0.3 s.
    """

    python: str = sys.executable
    timeout_s: float = 60.0
    name: str = "espeak"

    def version(self) -> str:
        """Package version and a hash of the library, which differs between platforms, and so do its rounding and its sound."""
        from importlib.metadata import PackageNotFoundError, version

        library, _ = _library()
        try:
            package = version("espeakng-loader")
        except PackageNotFoundError:
            package = "unpackaged"
        return f"{package}-{hashlib.sha256(library.read_bytes()).hexdigest()[:12]}"

    def voices(self) -> tuple[Voice, ...]:
        """Language codes. Each also takes a variant: "+f1" to "+f5", "+m1" to "+m8", "+whisper", ..."""
        return tuple(Voice(name, name) for name in sorted(_voices().languages))

    def speak(self, line: Line, out: Path) -> Take:
        """See SpeechEngine.speak."""
        refuse_unspeakable(line)
        rate = _rate(line.speed)
        pitch = round(_NORMAL_PITCH * (1 + math.log2(within(line, self.name, "pitch", 0.5, 2))))
        voices = _voices()
        voice = voices.resolve(line.voice or voices.of_language(line.language))
        utterance = ssml_utterance(line.text, voices.resolve) if line.ssml else plain_utterance(line.text)
        library, data = _library()
        request = {
            "library": str(library),
            "data": str(data),
            "voice": voice,
            "rate": rate,
            "pitch": pitch,
            "text": utterance.spoken,
            "ssml": utterance.ssml,
            "max_samples": MAX_SECONDS * 22_050,
        }
        answer, sound = self._ask(request)
        sample_rate = int(answer["sample_rate"])
        samples = array.array("h")
        samples.frombytes(sound)
        last = len(utterance.origin) - 1
        events = [WordEvent(utterance.origin[min(max(at, 0), last)], ms / 1000) for at, ms in answer["events"]]
        silent = not events and max(samples, default=0) <= QUIET
        if silent and not (utterance.ssml and "<break" in utterance.spoken):  # a pause alone is something to ask for
            raise SpeechError(
                f"voice {voice!r} finds nothing to say in {line.text[:40]!r}; write words or remove the voice layer",
                code="SPEECH_EMPTY",
            )
        write_wav(out, sound, sample_rate)
        return Take(len(samples), sample_rate, timed_words(utterance, events, samples, sample_rate), voice)

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
        """Answer and samples of one child process. However this ends, the child has ended before it."""
        argv = [self.python, "-I", "-S", str(_CHILD), str(os.getpid())]
        reading, writing = os.pipe()
        try:
            try:
                # Own group: a Ctrl-C meant for the step is passed on by the code below, once, and nothing is orphaned.
                child = subprocess.Popen(  # noqa: S603 - argv is ours, the text goes through the pipe
                    argv, stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
                )
            except OSError as error:
                raise SpeechError(f"the speech process could not be started with {self.python}: {error.strerror}") from error
            finally:
                os.close(reading)
            try:
                with contextlib.suppress(BrokenPipeError):  # died already; what it left on stderr says why
                    _write_all(writing, json.dumps(request, ensure_ascii=False).encode() + b"\n")
                # stdin stays open: its end tells the child that nobody waits any more.
                output, complaint = child.communicate(timeout=self.timeout_s)
            except subprocess.TimeoutExpired:
                raise SpeechError(
                    f"the engine did not answer within {self.timeout_s:g} s; shorten the text, or try again later"
                ) from None
            finally:
                _end(child)
        finally:
            os.close(writing)
        return _parsed(child.returncode, output, complaint)


def _parsed(status: int, output: bytes, complaint: bytes) -> tuple[dict[str, Any], memoryview]:
    head, _, _ = output.partition(b"\n")
    sound = memoryview(output)[len(head) + 1 :]
    try:
        answer = json.loads(head)
    except ValueError:
        answer = {}
    if answer.get("error") == "long":
        raise SpeechError(
            f"the line would last longer than {MAX_SECONDS // 60} minutes; split it into several layers", code="SPEECH_TOO_LONG"
        )
    if answer.get("error") == "voice":
        raise SpeechError(f"the engine has no voice {answer['detail']!r}", code="VOICE_NOT_FOUND")
    if status != 0 or "error" in answer or answer.get("bytes") != len(sound):
        words = complaint.decode(errors="replace").strip().splitlines()
        cause = answer.get("detail") or (words[-1] if words else _ending(status))
        raise SpeechError(
            f"the speech process failed: {cause}. Simplify the text or choose another voice; "
            "if every line fails, reinstall the package espeakng-loader"
        )
    return answer, sound


def _ending(status: int) -> str:
    return f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it ended with status {status}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the group when it still runs, and reap it."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _rate(speed: float) -> int:
    rate = round(speed * NORMAL_RATE)
    if not SLOWEST_RATE <= rate <= FASTEST_RATE:
        low, high = SLOWEST_RATE / NORMAL_RATE, FASTEST_RATE / NORMAL_RATE
        raise SpeechError(
            f"speed {speed:g} is outside what this engine speaks; use {low:.2f} to {high:.2f}", code="SPEECH_SPEED_REFUSED"
        )
    return rate


def _voices() -> Voices:
    return voices_in(_library()[1])


def _library() -> tuple[Path, Path]:
    """The shared library and its data folder."""
    try:
        import espeakng_loader

        return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    except (ImportError, RuntimeError) as error:
        raise SpeechError(f"the embedded speech engine is not installed ({error}); run: pip install espeakng-loader") from error
