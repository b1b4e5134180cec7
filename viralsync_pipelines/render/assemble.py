"""Clips and sound to one film, by copying packets: nothing is encoded here.

What belongs here: whether clips can be joined, joining and muxing. What does not: making clips (scenes.py) or sound (sound.py),
judging the film (quality.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from viralsync_pipelines.errors import ClipMissing, RenderError
from viralsync_pipelines.movie.encoding import ticks
from viralsync_pipelines.render.boxes import Make, NotWhole, make_of
from viralsync_pipelines.render.ffmpeg import run


class ClipDamaged(RenderError):
    """A clip that cannot be part of the film; `clip` is its file. Codes CLIP_DAMAGED and CLIPS_DIFFER."""

    code = "CLIP_DAMAGED"

    def __init__(self, message: str, clip: Path, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.clip = clip


def join(
    clips: Sequence[Path], counts: Sequence[int], fps: Fraction, sound: Path, scratch: Path, out: Path, *, comment: str
) -> None:
    """Write the film to `out`: clips in order, one sound, moov first. Raises ClipMissing, ClipDamaged, RenderError, FfmpegFailed.

    `counts`: frames of each clip, as planned. `comment` is kept in the file's metadata (the plan's hash, so that a film can be
    traced to its plan).
    """
    delay = check_clips(clips, counts, fps)
    listing = scratch / "clips.txt"
    lines = ["ffconcat version 1.0"]
    for clip, count in zip(clips, counts, strict=True):
        # Lengths are said here: an edit list has them in milliseconds only, and 40 frames of 30 a second lost 5 ticks by that.
        lines += [f"file '{_quoted(clip)}'", f"duration {float(count / fps):.6f}"]
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    beat = ticks(fps) / fps
    # Times are set anew on the film's beat. A clip of one or two frames is decoded without delay, the next one with it: as
    # they come, its packets would go before those of the short one, and the muxer refuses the film.
    times = f"setts=pts=round(PTS/{beat})*{beat}:dts=(N-{delay})*{beat}:duration={beat}"
    run(
        [
            "-xerror", "-f", "concat", "-safe", "0", "-protocol_whitelist", "file", "-i", str(listing),
            "-f", "mov", "-protocol_whitelist", "file", "-i", str(sound),
            "-map", "0:v:0", "-map", "1:a:0", "-c", "copy", "-bsf:v", times, "-movflags", "+faststart",
            "-video_track_timescale", str(ticks(fps)), "-fflags", "+bitexact", "-map_metadata", "-1",
            "-metadata", f"comment={comment}", "-f", "mp4", str(out),
        ],
        scratch=scratch,
    )  # fmt: skip
    found, frames = make_of(out).frames, sum(counts)
    if found != frames:
        raise RenderError(f"the joined film has {found} frames where {frames} were planned; run it again", code="FRAMES_LOST")


def check_clips(clips: Sequence[Path], counts: Sequence[int], fps: Fraction) -> int:
    """Raise ClipMissing or ClipDamaged unless every clip is there, whole, as long as planned, and made like the first one.

    Gives the frames by which decoding runs ahead of showing in the film.

    ffmpeg itself would leave a missing piece out, print a line, and end well with a shorter film; and it would copy a piece of
    another size or profile behind the first one's headers, where players show green blocks.
    """
    makes: dict[Path, Make] = {}
    for clip, count in zip(clips, counts, strict=True):
        if clip not in makes:
            try:
                makes[clip] = make_of(clip)
            except FileNotFoundError:
                raise ClipMissing(
                    f"the clip {clip.stem[:12]} has gone; run the movie again, only what is missing is rendered"
                ) from None
            except NotWhole as error:
                raise ClipDamaged(f"the clip {clip.stem[:12]} is damaged ({error}); run the movie again", clip) from error
        make, first = makes[clip], makes[clips[0]]
        if make.frames != count:
            raise ClipDamaged(
                f"the clip {clip.stem[:12]} has {make.frames} frames where {count} were planned; run the movie again", clip
            )
        wrong = _unlike(make, first) or _off_beat(make, fps)
        if wrong:
            raise ClipDamaged(
                f"the clip {clip.stem[:12]} cannot be joined to the first one: {wrong}; run the movie again", clip, code="CLIPS_DIFFER"
            )
    return max((make.ahead for make in makes.values()), default=0)


def _unlike(make: Make, first: Make) -> str:
    """How a clip differs from the first one in what a film has only one of; "" when it does not."""
    if make.codec != first.codec:
        return f"it is {make.codec}, not {first.codec}"
    if make.size != first.size:
        return f"it is {make.size[0]}x{make.size[1]}, not {first.size[0]}x{first.size[1]}"
    if make.timescale != first.timescale:
        return f"its clock has {make.timescale} ticks a second, not {first.timescale}"
    if make.step != first.step:
        return f"its frames last {make.step} ticks, not {first.step}"
    if make.config != first.config:
        told, wanted = (f"profile {c[1]} level {c[3]}" if len(c) > 3 else "none" for c in (make.config, first.config))
        return f"its H.264 headers are others ({told}, not {wanted})" if told != wanted else "its H.264 headers are others"
    return "its colour tags are others" if make.colour != first.colour else ""


def _off_beat(make: Make, fps: Fraction) -> str:
    beat = Fraction(make.timescale) / fps
    return f"its frames last {make.step} ticks, not {beat}" if make.step != beat else ""


def _quoted(path: Path) -> str:
    # ffconcat quotes like a shell: a quote ends the string, stands escaped, and begins it anew.
    return str(path.absolute()).replace("'", "'\\''")
