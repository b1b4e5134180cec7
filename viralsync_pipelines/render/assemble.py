"""Clips and sound to one film, by copying packets: nothing is encoded here.

What belongs here: joining and muxing. What does not: making clips (scenes.py) or sound (sound.py), judging the film (quality.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from viralsync_pipelines.errors import ClipMissing, RenderError
from viralsync_pipelines.movie.encoding import ticks
from viralsync_pipelines.render.ffmpeg import run
from viralsync_pipelines.render.scenes import count_frames


def join(clips: Sequence[Path], frames: int, fps: Fraction, sound: Path, scratch: Path, out: Path, *, comment: str) -> None:
    """Write the film to `out`: clips in order, one sound, moov first. Raises ClipMissing, RenderError, FfmpegFailed.

    `comment` is kept in the file's metadata (the plan's hash, so that a film can be traced to its plan).
    """
    for clip in clips:
        if not clip.exists():
            # ffmpeg would leave a missing piece out, print a line, and end well with a shorter film.
            raise ClipMissing(f"the clip {clip.stem[:12]} has gone; run the movie again, only what is missing is rendered")
    listing = scratch / "clips.txt"
    lines = ["ffconcat version 1.0", *(line for clip in clips for line in (f"file '{_quoted(clip)}'",))]
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run(
        [
            "-xerror", "-f", "concat", "-safe", "0", "-protocol_whitelist", "file", "-i", str(listing),
            "-f", "mov", "-protocol_whitelist", "file", "-i", str(sound),
            "-map", "0:v:0", "-map", "1:a:0", "-c", "copy", "-movflags", "+faststart",
            "-video_track_timescale", str(ticks(fps)), "-fflags", "+bitexact", "-map_metadata", "-1",
            "-metadata", f"comment={comment}", "-f", "mp4", str(out),
        ],
        scratch=scratch,
    )  # fmt: skip
    found = count_frames(out)
    if found != frames:
        raise RenderError(f"the joined film has {found} frames where {frames} were planned; run it again", code="FRAMES_LOST")


def _quoted(path: Path) -> str:
    # ffconcat quotes like a shell: a quote ends the string, stands escaped, and begins it anew.
    return str(path.absolute()).replace("'", "'\\''")
