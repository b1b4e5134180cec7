"""The samples a waveform shows: its cues decoded, each brought to its source's own height, summed in mono where they are heard.

What belongs here: that. What does not: the film's sound (sound.py), drawing (redrawn.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.conform import GUARD
from viralsync_pipelines.movie.mix import Cue
from viralsync_pipelines.movie.timing import SAMPLE_RATE
from viralsync_pipelines.render.ffmpeg import run
from viralsync_pipelines.render.sound import conformed, curve

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

_BLOCK = 10 * SAMPLE_RATE


def listen(cues: Sequence[Cue], first: int, last: int, path_of: Callable[[str], Path], scratch: Path) -> Samples:
    """Samples [first, last) on the cues' clock: 1 is the highest sample of a source, wherever in the film it is heard.

    Kept in files of `scratch` rather than in memory, of which two hours would take 1.4 GB. Raises FfmpegFailed.
    """
    import numpy as np

    folder = Path(tempfile.mkdtemp(prefix="heard-", dir=scratch))
    out = np.memmap(folder / "sum.f32", np.float32, "w+", shape=(max(1, last - first),))
    used: dict[tuple[str, Fraction], list[Cue]] = {}
    for cue in cues:
        used.setdefault((cue.source, cue.speed), []).append(cue)
    for number, ((source, speed), users) in enumerate(used.items()):
        track = _decoded(users[0].demuxer, path_of(source), speed, folder / f"track{number}.f32", scratch)
        # The whole file's, so that no stretch of it is drawn higher because what it stands beside is softer.
        peak = max((float(np.abs(track[at : at + _BLOCK]).max()) for at in range(0, len(track), _BLOCK)), default=0.0)
        for cue in users if peak > 0 else ():
            for start in range(max(first, cue.at), min(last, cue.at + cue.length), _BLOCK):
                stop = min(start + _BLOCK, last, cue.at + cue.length)
                out[start - first : stop - first] += _heard(cue, track, start - cue.at, stop - cue.at, peak)
    return out


def _heard(cue: Cue, track: Samples, first: int, last: int, peak: float) -> Samples:
    """Samples [first, last) of a cue's own time, as sound.py would have them, in mono and at the height of a waveform."""
    import numpy as np

    places = np.arange(first, last)
    if cue.span:
        places %= cue.span if cue.follows else max(1, min(cue.span, len(track) - cue.skip))
    places += cue.skip
    there = places < len(track)
    heard = np.where(there, track[np.where(there, places, 0)], 0) * np.float32(cue.gain / peak)
    return heard * curve(cue.shape, first, last) if cue.shape else heard


def _decoded(demuxer: str, path: Path, speed: Fraction, out: Path, scratch: Path) -> Samples:
    """All of a file in mono."""
    import numpy as np

    guard = (x for name, value in GUARD.items() for x in (f"-{name}", value))
    chain = f"{conformed(speed)},pan=mono|c0=0.5*FL+0.5*FR"
    run(
        ["-f", demuxer, *guard, "-vn", "-i", str(path), "-map", "0:a:0", "-af", chain, "-c:a", "pcm_f32le", "-f", "f32le", str(out)],
        scratch=scratch,
    )
    return np.memmap(out, np.float32, "r") if out.stat().st_size else np.zeros(0, np.float32)
