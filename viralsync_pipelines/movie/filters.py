"""A piece of film as an ffmpeg graph: which inputs, which filters, which output, all as data.

What belongs here: building the graph with ffmpeg-python. What does not: drawing stills, feeding frames, starting processes (render/).
No text of the user's ever stands in a graph: words arrive as pixels, files by index, everything else as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import ffmpeg

from viralsync_pipelines.movie.art import Rgba
from viralsync_pipelines.movie.encoding import Encoder, picture_args
from viralsync_pipelines.movie.grading import mixer_steps
from viralsync_pipelines.movie.picture import Canvas, Footage, Piece, Visual


@dataclass(frozen=True)
class Delivered:
    """How a visual reaches the graph, and where it lies on the canvas.

    form: `still` one raw frame, `feed` raw frames through a pipe (frames `begin` to `begin + frames` of the window), `clip` a file
    that ffmpeg decodes. x, y, width, height: whole pixels on the canvas. opaque: covers its rectangle fully.
    name: placeholder for the path or pipe, put in by whoever runs the graph. mask: the same for a grey alpha mask, or "".
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

    def fills(self, canvas: Canvas) -> bool:
        return self.opaque and (self.x, self.y, self.width, self.height) == (0, 0, canvas.width, canvas.height)


_BT709 = {"range": "tv", "colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}
# Local files only, whatever a container asks for.
GUARD = {"protocol_whitelist": "file,pipe,fd"}


def piece_argv(piece: Piece, delivered: Sequence[Delivered], canvas: Canvas, encoder: Encoder, out: str) -> tuple[str, ...]:
    """ffmpeg arguments (without the program) that encode one piece. `delivered` is parallel to `piece.visuals`."""
    stream = _picture(piece, delivered, canvas)
    output = ffmpeg.output(stream, out)
    args = ffmpeg.get_args(output)
    cut = args.index("-map")
    return (*args[:cut], *args[cut:-1], "-frames:v", str(piece.count), *picture_args(encoder, canvas.fps), args[-1])


def still_argv(piece: Piece, delivered: Sequence[Delivered], canvas: Canvas, frame: int, out: str) -> tuple[str, ...]:
    """The same graph, but one of its frames as a PNG."""
    stream = _picture(piece, delivered, canvas).filter("trim", start_frame=frame, end_frame=frame + 1)
    stream = stream.filter("scale", in_color_matrix="bt709", in_range="tv", out_range="pc", flags="accurate_rnd+full_chroma_int")
    args = ffmpeg.get_args(ffmpeg.output(stream.filter("format", "rgb24"), out))
    return (*args[:-1], "-frames:v", "1", "-f", "image2", "-update", "1", args[-1])


def _picture(piece: Piece, delivered: Sequence[Delivered], canvas: Canvas) -> Any:
    pairs = list(zip(piece.visuals, delivered, strict=True))
    under, into = len(piece.under), len(piece.under) + len(piece.into)
    stream = _stack(pairs[:under], piece.background, piece.count, canvas)
    if piece.kind == "overlap":
        later = _stack(pairs[under:into], piece.into_background, piece.count, canvas)
        # xfade knows no 4:2:0; named formats keep it from choosing 4:4:4 for the encoder as well.
        length = float(piece.count / canvas.fps)
        stream = ffmpeg.filter(
            [stream.filter("format", "yuv444p"), later.filter("format", "yuv444p")],
            "xfade", transition=piece.transition, duration=f"{length:.9f}", offset=0,
        ).filter("scale", in_range="tv", out_range="tv").filter("format", "yuv420p")  # fmt: skip
    for visual, given in pairs[into:]:
        stream = _lay(stream, visual, given, canvas, piece.count)
    return stream.filter("format", "yuv420p").filter("setsar", 1).filter("setparams", **_BT709)


def _stack(pairs: list[tuple[Visual, Delivered]], background: Rgba, count: int, canvas: Canvas) -> Any:
    """One scene's layers over its background; what a full picture hides is left out."""
    full = [i for i, (visual, given) in enumerate(pairs) if _is_floor(visual, given, canvas, count)]
    pairs = pairs[full[-1] :] if full else pairs
    if full:
        visual, given = pairs[0]
        stream = _layer(visual, given, canvas, count, alpha=False)
        stream = stream.filter("tpad", stop=2, stop_mode="clone") if given.form == "clip" else stream
        stream = stream.filter("trim", end_frame=count)
        pairs = pairs[1:]
    else:
        stream = _plain(background, count, canvas)
    for visual, given in pairs:
        stream = _lay(stream, visual, given, canvas, count)
    return stream


def _is_floor(visual: Visual, given: Delivered, canvas: Canvas, count: int) -> bool:
    look = visual.look
    faded = look.opacity < 1 or visual.motion.enter is not None or visual.motion.exit is not None
    lasts = visual.first <= 0 and visual.last >= count
    return given.fills(canvas) and lasts and look.blend == "normal" and not (faded and given.form != "feed") and not given.mask


def _plain(color: Rgba, count: int, canvas: Canvas) -> Any:
    # Drawn in RGB and converted once: the colour source itself would use BT.601.
    red, green, blue, _ = color
    source = ffmpeg.input(
        f"color=c=0x{red:02x}{green:02x}{blue:02x}:s={canvas.width}x{canvas.height}:r={canvas.fps}:d={float(2 / canvas.fps):.6f}",
        f="lavfi",
    )
    return _hold(_to_bt709(source.filter("format", "gbrp"), alpha=False), 0, count, canvas)


def _to_bt709(stream: Any, *, alpha: bool) -> Any:
    stream = stream.filter("scale", out_color_matrix="bt709", out_range="tv", flags="bicubic+accurate_rnd+full_chroma_int")
    return stream.filter("format", "yuva420p" if alpha else "yuv420p")


def _hold(stream: Any, first: int, frames: int, canvas: Canvas) -> Any:
    """One frame for `frames` frames from `first`: decoded and converted once, whatever the length."""
    stream = stream.filter("loop", loop=-1, size=1, start=0).filter("trim", end_frame=frames)
    return _clock(stream, first, canvas)


def _clock(stream: Any, first: int, canvas: Canvas) -> Any:
    return stream.filter("settb", f"{canvas.fps.denominator}/{canvas.fps.numerator}").filter("setpts", f"N+{first}")


def _layer(visual: Visual, given: Delivered, canvas: Canvas, count: int, *, alpha: bool) -> Any:
    """The visual as frames on the window's clock, in 4:2:0 with or without alpha."""
    first, last = max(0, visual.first), min(count, visual.last)
    if given.form == "clip":
        stream = _clip(visual, given, canvas, first - visual.first, last - first, alpha=alpha)
        return _clock(stream, first, canvas)
    source = ffmpeg.input(
        given.name, f="rawvideo", pixel_format=given.pixels, video_size=(given.width, given.height), framerate=str(canvas.fps)
    )
    if given.form == "feed":
        stream = source.filter("setparams", **_BT709) if given.pixels == "yuv420p" else _to_bt709(source, alpha=alpha)
        return _clock(stream, given.begin, canvas)
    stream = _to_bt709(source, alpha=alpha)
    stream = stream.filter("loop", loop=-1, size=1, start=0).filter("trim", end_frame=visual.last - min(0, visual.first))
    stream = _clock(stream, 0, canvas)
    stream = _fade(stream, visual)
    return stream.filter("trim", start_frame=first - visual.first, end_frame=last - visual.first).filter(
        "setpts", f"PTS+{visual.first}"
    )


def _fade(stream: Any, visual: Visual) -> Any:
    """Linear fades on the layer's own clock, frame for frame what motion.pose_at says."""
    enter, leave = visual.motion.enter, visual.motion.exit
    if enter is not None:
        stream = stream.filter("fade", type="in", start_frame=0, nb_frames=max(1, round(enter.frames)), alpha=1)
    if leave is not None:
        frames = max(1, round(leave.frames))
        stream = stream.filter("fade", type="out", start_frame=max(0, visual.frames - frames), nb_frames=frames, alpha=1)
    return stream


def _clip(visual: Visual, given: Delivered, canvas: Canvas, skip: int, frames: int, *, alpha: bool) -> Any:
    """A moving source: cut, brought to the film's rate, cropped before it is scaled (a quarter less work), then coloured."""
    footage = visual.content
    if not isinstance(footage, Footage):
        raise TypeError("only footage is decoded by ffmpeg")
    stream = conform(ffmpeg.input(given.name, **clip_input(footage, skip, frames, canvas.fps)), footage, (given.width, given.height),
                     canvas.fps, visual, alpha=alpha)  # fmt: skip
    if given.mask:
        mask = ffmpeg.input(
            given.mask, f="rawvideo", pixel_format="gray", video_size=(given.width, given.height), framerate=str(canvas.fps)
        )
        held = mask.filter("loop", loop=-1, size=1, start=0)
        stream = _masked(stream, held, footage.alpha or visual.look.key is not None)
    if alpha and visual.look.opacity < 1:
        stream = stream.filter("colorchannelmixer", aa=f"{visual.look.opacity:.6f}").filter("format", "yuva420p")
    if alpha and (visual.motion.enter is not None or visual.motion.exit is not None):
        stream = stream.filter("setpts", f"N+{skip}")
        stream = _fade(stream, visual)
    return stream.filter("trim", end_frame=frames) if not (visual.motion.enter or visual.motion.exit) else stream


def conform_argv(
    visual: Visual, path: str, size: tuple[int, int], fps: Fraction, skip: int, frames: int, pixels: str,
    output: Sequence[str], out: str,
) -> tuple[str, ...]:  # fmt: skip
    """Arguments that decode `frames` frames of a visual's footage, `skip` frames into it, conformed, as `pixels` into `out`."""
    footage = visual.content
    if not isinstance(footage, Footage):
        raise TypeError("only footage is decoded by ffmpeg")
    alpha = footage.alpha or visual.look.key is not None
    stream = conform(ffmpeg.input(path, **clip_input(footage, skip, frames, fps)), footage, size, fps, visual, alpha=alpha)
    if pixels == "rgba":
        stream = _rgb(stream, "rgba")
    stream = stream.filter("tpad", stop=2, stop_mode="clone").filter("trim", end_frame=frames)
    args = ffmpeg.get_args(ffmpeg.output(stream, out))
    return (*args[:-1], *output, "-frames:v", str(frames), "-an", args[-1])


def _masked(stream: Any, mask: Any, has_alpha: bool) -> Any:
    if not has_alpha:
        return ffmpeg.filter([stream, mask], "alphamerge", shortest=1)
    split = stream.filter_multi_output("split")
    own = ffmpeg.filter([split[0].filter("alphaextract"), mask], "blend", all_mode="multiply", shortest=1)
    return ffmpeg.filter([split[1], own], "alphamerge", shortest=1)


def clip_input(footage: Footage, skip: int, frames: int, fps: Fraction) -> dict[str, Any]:
    """Input options that open footage `skip` frames into its shown life and read enough for `frames` frames."""
    options: dict[str, Any] = {"f": footage.demuxer, **GUARD, "threads": 1}
    if footage.decoder:
        options["c:v"] = footage.decoder
    if footage.loop:
        # A loop's unit was cut to whole frames beforehand: see render/scenes.py.
        options |= {"stream_loop": -1, "ss": seconds((skip % footage.loop) / fps)}
        options["t"] = seconds(frames / fps + 1)
        return options
    start = footage.start + skip / fps * footage.speed
    if start > 0:
        options["ss"] = seconds(start)
    wanted = (frames + 3) / fps * footage.speed
    if footage.seconds is not None:
        wanted = min(wanted, max(footage.start + footage.seconds - start, footage.speed / fps))
    options["t"] = seconds(wanted)
    return options


def conform(
    stream: Any, footage: Footage, size: tuple[int, int], fps: Fraction, visual: Visual, *, alpha: bool
) -> Any:
    """Footage at the film's rate, size and colour, with key and tone applied; straight alpha where asked."""
    stream = stream.video
    if footage.speed != 1:
        stream = stream.filter("setpts", f"PTS*{footage.speed.denominator}/{footage.speed.numerator}")
    # Untagged film of HD size is BT.709, smaller is BT.601: what every player assumes.
    if footage.hdr:
        stream = stream.filter("zscale", transfer="linear", npl=203).filter("format", "gbrpf32le")
        stream = stream.filter("zscale", primaries="bt709").filter("tonemap", "mobius", desat=0)
        stream = stream.filter("zscale", transfer="bt709", matrix="bt709", range="tv").filter("format", "yuv420p")
    elif footage.moving and not footage.alpha and not footage.matrix:
        stream = stream.filter("setparams", colorspace="bt709" if footage.size[1] >= 720 else "smpte170m")
    stream = stream.filter("fps", fps=str(fps), start_time=0, round="near")
    left, top, width, height = _whole_crop(footage)
    if (left, top, width, height) != (0, 0, *footage.size):
        stream = stream.filter("crop", width, height, left, top, exact=1)
    if visual.look.flip in {"horizontal", "both"}:
        stream = stream.filter("hflip")
    if visual.look.flip in {"vertical", "both"}:
        stream = stream.filter("vflip")
    stream = stream.filter("scale", *size, flags="bicubic", out_color_matrix="bt709", out_range="tv").filter("setsar", 1)
    key, tone = visual.look.key, visual.look.tone
    if key is not None:
        red, green, blue, _ = key.color
        stream = stream.filter("format", "yuva444p").filter(
            "chromakey", f"0x{red:02x}{green:02x}{blue:02x}", f"{key.similarity:.4f}", f"{key.blend:.4f}"
        )
    if tone is not None:
        stream = stream.filter("scale", in_color_matrix="bt709", in_range="tv", flags="accurate_rnd").filter("format", "rgba")
        for step in mixer_steps(tone):
            stream = stream.filter("colorchannelmixer", **{name: f"{value:.6f}" for name, value in step.items()})
        if tone.blur > 0:
            stream = stream.filter("gblur", sigma=f"{tone.blur:.4f}")
        stream = stream.filter("scale", out_color_matrix="bt709", out_range="tv", flags="accurate_rnd")
    return stream.filter("format", "yuva420p" if alpha else "yuv420p").filter("setparams", **_BT709)


def _whole_crop(footage: Footage) -> tuple[int, int, int, int]:
    left, top, width, height = footage.crop
    x, y = max(0, round(left)), max(0, round(top))
    return x, y, max(1, min(round(width), footage.size[0] - x)), max(1, min(round(height), footage.size[1] - y))


def _lay(stream: Any, visual: Visual, given: Delivered, canvas: Canvas, count: int) -> Any:
    if visual.look.blend != "normal":
        return _blended(stream, visual, given, canvas, count)
    needs_alpha = not given.opaque or visual.look.opacity < 1 or visual.motion.enter is not None or visual.motion.exit is not None
    over = _layer(visual, given, canvas, count, alpha=given.pixels != "yuv420p" and needs_alpha)
    return ffmpeg.filter(
        [stream, over], "overlay", x=given.x, y=given.y, eof_action="pass", repeatlast=0, format="yuv420", alpha="straight"
    )


# The spec's blend names are ffmpeg's, but for these.
_BLENDS = {"addition": "addition", "softlight": "softlight", "hardlight": "hardlight"}


def _blended(stream: Any, visual: Visual, given: Delivered, canvas: Canvas, count: int) -> Any:
    """Blend modes in RGB, where they are defined: blend over the whole canvas, then keep the result where the layer is."""
    over = _layer(visual, given, canvas, count, alpha=True)
    clear = ffmpeg.input(
        f"color=c=black@0:s={canvas.width}x{canvas.height}:r={canvas.fps}:d={float((count + 1) / canvas.fps):.6f}", f="lavfi"
    ).filter("format", "yuva420p")
    placed = ffmpeg.filter(
        [clear, over], "overlay", x=given.x, y=given.y, eof_action="pass", repeatlast=0, format="yuv420", alpha="straight"
    )
    layer = _rgb(placed.filter("setparams", **_BT709), "gbrap").filter_multi_output("split")
    alpha = layer[0].filter("alphaextract").filter("format", "gray").filter("format", "gbrp")
    base = _rgb(stream.filter("setparams", **_BT709), "gbrp").filter_multi_output("split")
    mode = _BLENDS.get(visual.look.blend, visual.look.blend)
    mixed = ffmpeg.filter([layer[1].filter("format", "gbrp"), base[0]], "blend", all_mode=mode)
    merged = ffmpeg.filter([base[1], mixed, alpha], "maskedmerge")
    return _to_bt709(merged, alpha=False).filter("setparams", **_BT709)


def _rgb(stream: Any, pixels: str) -> Any:
    return stream.filter("scale", in_color_matrix="bt709", in_range="tv", flags="accurate_rnd+full_chroma_int").filter("format", pixels)


def seconds(value: Fraction) -> str:
    """Seconds for an ffmpeg argument: a leading zero (".5" is refused) and whole microseconds."""
    return f"{float(value):.6f}"
