"""A piece of film as an ffmpeg graph: which inputs, which filters, which output, all as data.

What belongs here: composing layers with ffmpeg-python. What does not: bringing a source to the film's rate, size and colour
(conform.py), drawing stills, feeding frames, starting processes (render/).
No text of the user's ever stands in a graph: words arrive as pixels, files by index, everything else as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import ffmpeg

from viralsync_pipelines.movie.art import Rgba
from viralsync_pipelines.movie.conform import BT709, GLOBALS, clip_input, conform, to_bt709, to_rgb
from viralsync_pipelines.movie.encoding import Encoder, picture_args
from viralsync_pipelines.movie.glances import REACH, end_frames, end_size, shown_frame, tile_size
from viralsync_pipelines.movie.picture import Canvas, Footage, Piece, Visual


@dataclass(frozen=True)
class Delivered:
    """How a visual reaches the graph, and where it lies on the canvas.

    form: `still` one raw frame, `feed` raw frames through a pipe (frames `begin` to `begin + frames` of the window), `clip` a file
    that ffmpeg decodes. x, y, width, height: whole pixels on the canvas. opaque: covers its rectangle fully.
    name: placeholder for the path or pipe, put in by whoever runs the graph. mask: the same for a grey alpha mask, or "".
    rest: (index in the feed, more frames that look like it): what stands still is fed once. number: its place among the piece's layers.
    """

    form: Literal["still", "feed", "clip"]
    name: str
    x: int
    y: int
    width: int
    height: int
    pixels: Literal["rgba", "rgb24", "yuv420p"] = "rgba"
    opaque: bool = False
    begin: int = 0
    frames: int = 0
    mask: str = ""
    rest: tuple[int, int] = (0, 0)
    number: int = 0

    def fills(self, canvas: Canvas) -> bool:
        return self.opaque and (self.x, self.y, self.width, self.height) == (0, 0, canvas.width, canvas.height)


# Transitions that go through plain black or white, which xfade has wrong in limited range YUV.
_IN_RGB = frozenset({"fadeblack", "fadewhite", "fadegrays", "circlecrop", "rectcrop"})


@dataclass(frozen=True)
class Outputs:
    """Where a piece goes: the clip, its end frames (raw luma) and the picture that stands for it (raw rgb24). See glances.py."""

    clip: str
    ends: str
    shown: str


@dataclass(frozen=True)
class Lettered:
    """Captions as libass burns them: the path of an ASS script on the piece's clock, and of a folder with its fonts. On top of them come
    the bitmaps of what libass does not draw, colour emoji, parallel to their visuals."""

    script: str
    fonts: str
    visuals: tuple[Visual, ...] = ()
    delivered: tuple[Delivered, ...] = ()


def piece_argv(
    piece: Piece, delivered: Sequence[Delivered], canvas: Canvas, encoder: Encoder, out: Outputs, lettered: Lettered | None = None
) -> tuple[str, ...]:  # fmt: skip
    """ffmpeg arguments (without the program) that encode one piece. `delivered` is parallel to `piece.visuals`."""
    streams = _picture(piece, delivered, canvas, lettered).filter_multi_output("split", 3)
    (wide, tall), (shown_wide, shown_tall) = end_size(canvas), tile_size(canvas)
    ends = streams[1].filter("select", f"lt(n,{REACH})+gte(n,{piece.count - REACH})").filter("extractplanes", "y")
    shown = streams[2].filter("select", f"eq(n,{shown_frame(piece.count)})")
    shown = to_rgb(shown.filter("scale", shown_wide, shown_tall, flags="area"), "rgb24")
    raw = {"f": "rawvideo", "fps_mode": "passthrough", "fflags": "+bitexact"}
    # The clip comes first: ffmpeg's progress counts the frames of its first output. Each has its number of frames, so that ffmpeg ends
    # with the last of them: it stood still for good, with all frames written, where it waited for the end of a feed (second_try.py).
    args = ffmpeg.get_args(ffmpeg.merge_outputs(
        ffmpeg.output(streams[0], out.clip),
        ffmpeg.output(ends.filter("scale", wide, tall, flags="neighbor"), out.ends, **raw, **{"frames:v": len(end_frames(piece.count))}),
        ffmpeg.output(shown, out.shown, **raw, **{"frames:v": 1}),
    ))  # fmt: skip
    at = args.index(out.clip)
    return (*GLOBALS, *args[:at], "-frames:v", str(piece.count), *picture_args(encoder, canvas.fps), *args[at:])


def still_argv(
    piece: Piece, delivered: Sequence[Delivered], canvas: Canvas, frame: int, out: str, lettered: Lettered | None = None
) -> tuple[str, ...]:  # fmt: skip
    """The same graph, but one of its frames as a PNG."""
    stream = _picture(piece, delivered, canvas, lettered).filter("trim", start_frame=frame, end_frame=frame + 1)
    args = ffmpeg.get_args(ffmpeg.output(to_rgb(stream, "rgb24"), out))
    return (*GLOBALS, *args[:-1], "-frames:v", "1", "-f", "image2", "-update", "1", args[-1])


def _picture(piece: Piece, delivered: Sequence[Delivered], canvas: Canvas, lettered: Lettered | None) -> Any:
    numbered = [replace(given, number=n + 2) for n, given in enumerate(delivered)]
    pairs = list(zip(piece.visuals, numbered, strict=True))
    under, into = len(piece.under), len(piece.under) + len(piece.into)
    stream = _stack(pairs[:under], piece.background, piece.count, canvas, 0)
    if piece.kind == "overlap":
        later = _stack(pairs[under:into], piece.into_background, piece.count, canvas, 1)
        stream = _crossed(stream, later, piece, canvas)
    for visual, given in pairs[into:]:
        stream = _lay(stream, visual, given, canvas, piece.count)
    if lettered is not None:
        # In 4:2:0 and with its colours named: libass' filter draws in whatever comes, by the matrix that it is told.
        stream = stream.filter("format", "yuv420p").filter("setparams", **BT709)
        stream = stream.filter("ass", filename=lettered.script, fontsdir=lettered.fonts, shaping="complex")
        for number, (visual, given) in enumerate(zip(lettered.visuals, lettered.delivered, strict=True)):
            stream = _lay(stream, visual, replace(given, number=len(pairs) + 2 + number), canvas, piece.count)
    return stream.filter("format", "yuv420p").filter("setsar", 1).filter("setparams", **BT709)


def _crossed(earlier: Any, later: Any, piece: Piece, canvas: Canvas) -> Any:
    # xfade knows no 4:2:0; named formats keep it from choosing 4:4:4 for the encoder as well.
    length = float(piece.count / canvas.fps)
    pair = [stream.filter("setparams", **BT709) for stream in (earlier, later)]
    if piece.transition in _IN_RGB:
        pair = [to_rgb(stream, "gbrp") for stream in pair]
    else:
        pair = [stream.filter("format", "yuv444p") for stream in pair]
    mixed = ffmpeg.filter(pair, "xfade", transition=piece.transition, duration=f"{length:.9f}", offset=0)
    if piece.transition in _IN_RGB:
        return to_bt709(mixed, alpha=False)
    return mixed.filter("format", "yuv420p")


def _stack(pairs: list[tuple[Visual, Delivered]], background: Rgba, count: int, canvas: Canvas, number: int) -> Any:
    """One scene's layers over its background; what a full picture hides is left out."""
    full = [i for i, (visual, given) in enumerate(pairs) if _is_floor(visual, given, canvas, count)]
    if full:
        pairs = pairs[full[-1] :]
        stream = _layer(*pairs[0], canvas, count, alpha=False).filter("trim", end_frame=count)
        pairs = pairs[1:]
    else:
        stream = _clock(to_bt709(_plain(background, number, canvas, "gbrp"), alpha=False), 0, canvas)
        stream = _held(stream).filter("trim", end_frame=count)
    for visual, given in pairs:
        stream = _lay(stream, visual, given, canvas, count)
    return stream


def _is_floor(visual: Visual, given: Delivered, canvas: Canvas, count: int) -> bool:
    look = visual.look
    faded = look.opacity < 1 or visual.motion.enter is not None or visual.motion.exit is not None
    lasts = visual.first <= 0 and visual.last >= count
    return given.fills(canvas) and lasts and look.blend == "normal" and not (faded and given.form != "feed") and not given.mask


def _plain(color: Rgba, number: int, canvas: Canvas, pixels: str) -> Any:
    """Some frames of one colour. ffmpeg-python takes equal inputs for one and the same; another number makes them differ."""
    # Drawn in RGB and converted later: the colour source itself would use BT.601.
    drawn = "".join(f"{c:02x}" for c in color)
    length = float((2 + number) / canvas.fps)
    return ffmpeg.input(f"color=c=0x{drawn}:s={canvas.width}x{canvas.height}:r={canvas.fps}:d={length:.6f},format={pixels}", f="lavfi")


def _held(stream: Any) -> Any:
    """One frame for ever: decoded and converted once, whatever the length."""
    return stream.filter("loop", loop=-1, size=1, start=0)


def _clock(stream: Any, first: int, canvas: Canvas) -> Any:
    return stream.filter("settb", f"{canvas.fps.denominator}/{canvas.fps.numerator}").filter("setpts", f"N+{first}")


def _layer(visual: Visual, given: Delivered, canvas: Canvas, count: int, *, alpha: bool) -> Any:
    """The visual as frames on the window's clock, in 4:2:0 with or without alpha."""
    first, last = max(0, visual.first), min(count, visual.last)
    skip, frames = first - visual.first, last - first
    if given.form == "clip":
        stream = _clip(visual, given, canvas, skip, frames, alpha=alpha)
    else:
        source = ffmpeg.input(
            given.name, f="rawvideo", pixel_format=given.pixels, video_size=(given.width, given.height), framerate=str(canvas.fps)
        )
        stream = source.filter("setparams", **BT709) if given.pixels == "yuv420p" else to_bt709(source, alpha=alpha)
        if given.form == "feed":
            at, more = given.rest  # ffmpeg's loop counts frames from one
            stream = stream.filter("loop", loop=more, size=1, start=at + 1) if more else stream
            return _clock(stream, given.begin, canvas)
        stream = _held(stream).filter("trim", end_frame=frames)
    if alpha and (visual.motion.enter is not None or visual.motion.exit is not None):
        stream = _faded(_clock(stream, skip, canvas), visual, canvas)
    return _clock(stream, first, canvas)


def _faded(stream: Any, visual: Visual, canvas: Canvas) -> Any:
    """Linear fades on the layer's own clock, frame for frame what motion.pose_at says, wherever the window begins."""
    enter, leave = visual.motion.enter, visual.motion.exit
    fps = float(canvas.fps)
    if enter is not None:
        stream = stream.filter("fade", type="in", start_time=0, duration=f"{enter.frames / fps:.6f}", alpha=1)
    if leave is not None:
        start = max(0.0, visual.frames - leave.frames) / fps
        stream = stream.filter("fade", type="out", start_time=f"{start:.6f}", duration=f"{leave.frames / fps:.6f}", alpha=1)
    return stream


def _clip(visual: Visual, given: Delivered, canvas: Canvas, skip: int, frames: int, *, alpha: bool) -> Any:
    """A moving source, conformed, with rounded corners and opacity."""
    footage = visual.content
    if not isinstance(footage, Footage):
        raise TypeError("only footage is decoded by ffmpeg")
    # The same file may be used twice in a piece: see _plain.
    source = ffmpeg.input(given.name, thread_queue_size=8 + given.number, **clip_input(footage, skip, canvas.fps))
    size = (given.width, given.height)
    stream = conform(source, footage, size, canvas.fps, visual.look, skip, alpha=alpha).filter("trim", end_frame=frames)
    if given.mask:
        mask = ffmpeg.input(given.mask, f="rawvideo", pixel_format="gray", video_size=size, framerate=str(canvas.fps))
        stream = _masked(stream, _held(mask), footage.alpha or visual.look.key is not None)
    if alpha and visual.look.opacity < 1:
        stream = stream.filter("lut", a=f"val*{visual.look.opacity:.6f}")
    return stream


def _masked(stream: Any, mask: Any, has_alpha: bool) -> Any:
    if not has_alpha:
        return ffmpeg.filter([stream, mask], "alphamerge", shortest=1)
    split = stream.filter_multi_output("split")
    own = ffmpeg.filter([split[0].filter("alphaextract"), mask], "blend", all_mode="multiply", shortest=1)
    return ffmpeg.filter([split[1], own], "alphamerge", shortest=1)


def _lay(stream: Any, visual: Visual, given: Delivered, canvas: Canvas, count: int) -> Any:
    if visual.look.blend != "normal":
        return _blended(stream, visual, given, canvas, count)
    needs_alpha = not given.opaque or visual.look.opacity < 1 or visual.motion.enter is not None or visual.motion.exit is not None
    over = _layer(visual, given, canvas, count, alpha=given.pixels != "yuv420p" and needs_alpha)
    return _over(stream, over, given)


def _over(stream: Any, over: Any, given: Delivered) -> Any:
    return ffmpeg.filter(
        [stream, over], "overlay", x=given.x, y=given.y, eof_action="pass", repeatlast=0, format="yuv420", alpha="straight"
    )


# W3C soft light of the backdrop y under the source x, as a table: ffmpeg's own differs by up to 24 levels.
_SOFT_LIGHT = (
    "st(0,x/255);st(1,y/255);255*if(lte(ld(0),0.5),ld(1)-(1-2*ld(0))*ld(1)*(1-ld(1)),"
    "ld(1)+(2*ld(0)-1)*(if(lte(ld(1),0.25),((16*ld(1)-12)*ld(1)+4)*ld(1),sqrt(ld(1)))-ld(1)))"
)


def _blended(stream: Any, visual: Visual, given: Delivered, canvas: Canvas, count: int) -> Any:
    """Blend modes in RGB, where they are defined: blend over the whole canvas, then keep the result where the layer is."""
    over = _layer(visual, given, canvas, count, alpha=True)
    # Tagged, or overlay would have the layer converted to what it takes an untagged ground for.
    clear = _clock(_plain((0, 0, 0, 0), given.number, canvas, "yuva420p").filter("setparams", **BT709), 0, canvas)
    clear = _held(clear).filter("trim", end_frame=count)
    layer = to_rgb(_over(clear, over, given).filter("setparams", **BT709), "gbrap").filter_multi_output("split")
    alpha = layer[0].filter("alphaextract").filter("format", "gray").filter("format", "gbrp")
    base = to_rgb(stream.filter("setparams", **BT709), "gbrp").filter_multi_output("split")
    source, backdrop, mode = layer[1].filter("format", "gbrp"), base[0], visual.look.blend
    if mode == "softlight":
        mixed = ffmpeg.filter([source, backdrop], "lut2", c0=_SOFT_LIGHT, c1=_SOFT_LIGHT, c2=_SOFT_LIGHT)
    elif mode in {"overlay", "hardlight"}:
        # ffmpeg's overlay asks its first input which half it is in, and its hardlight the second.
        mixed = ffmpeg.filter([backdrop, source], "blend", all_mode=mode)
    else:
        mixed = ffmpeg.filter([source, backdrop], "blend", all_mode=mode)
    return to_bt709(ffmpeg.filter([base[1], mixed, alpha], "maskedmerge"), alpha=False)
