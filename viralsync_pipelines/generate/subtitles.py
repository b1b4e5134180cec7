"""`addSubtitles`: a video with its words on it, as one scene of a movie with a text layer for each caption. Pure.

What belongs here: styles, and where captions stand. What does not: cutting words into captions (captioning.py). Captions whose words are
lit one by one are a layer of captions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.generate.captioning import Caption, Limits, SrtInvalid, grouped, one_by_one, out_of_order, read_srt, words_of
from viralsync_pipelines.generate.film_params import Subtitles
from viralsync_pipelines.generate.markers import marker_of
from viralsync_pipelines.generate.materials import Materials, css, kind_of, literal, outline, size_of
from viralsync_pipelines.movie.layers import MAX_CAPTIONS
from viralsync_pipelines.movie.spec import MAX_LAYERS

# One scene holds so many layers, the video among them, and the movie as many over it.
MOST_CAPTIONS = 2 * MAX_LAYERS - 1
# Of the canvas' width.
_WIDTH = "84%"


@dataclass(frozen=True)
class Style:
    """size: of the letters, and stroke: of their outline, as shares of the shorter side. layer: fields of a text layer."""

    limits: Limits
    size: float
    stroke: float = 0.0
    layer: Mapping[str, Any] = field(default_factory=dict)
    plate: str | None = None
    padding: float = 0.0
    lit: str = "#ffd400"


STYLES: Mapping[str, Style] = {
    "tiktok": Style(
        Limits(3, 2.0, 24), 0.075, 0.011, {"fontWeight": 800, "uppercase": True, "enter": {"type": "pop", "duration": 0.12}},
    ),
    "youtube": Style(Limits(9, 4.0, 60), 0.046, 0.0, {"fontWeight": 500}, "rgba(0,0,0,0.75)", 0.014),
    "story": Style(Limits(5, 3.0, 36), 0.056, 0.0, {"fontWeight": 700, "color": "#111111"}, "#ffffff", 0.02, "#d6006c"),
    "minimal": Style(
        Limits(7, 3.5, 48), 0.05, 0.003,
        {"fontWeight": 500, "shadow": {"color": "rgba(0,0,0,0.7)", "x": 0, "y": 2, "blur": 8}},
    ),
    "cinematic": Style(
        Limits(10, 5.0, 64), 0.05, 0.002,
        {"fontStyle": "italic", "letterSpacing": 1.5, "color": "#f4ecd8",
         "shadow": {"color": "rgba(0,0,0,0.8)", "x": 0, "y": 2, "blur": 10}, "enter": {"type": "fade", "duration": 0.15}},
    ),
}  # fmt: skip


def subtitled(params: Subtitles, known: Materials) -> dict[str, Any]:
    """The movie. Everything in `params` has been judged by subtitle_faults."""
    size = size_of(params.output, [params.video], known)
    video = {"type": "video", "src": literal(params.video), "width": "100%", "height": "100%", "fit": "contain"}
    seconds = known[params.video].seconds if params.video in known else None
    if params.output.duration is not None:
        video["duration"] = params.output.duration
        seconds = min(seconds, params.output.duration) if seconds is not None else params.output.duration
    look = _look(params, size)
    if params.highlight != "none":
        return {
            **outline(params.output, size, params.bgColor), "title": "Subtitled",
            "scenes": [{"id": "video", "duration": "auto", "layers": [video, _lit(params, captions_of(params, seconds), size)]}],
        }  # fmt: skip
    texts = [
        {**look, "text": literal(each.text), "start": each.start, "duration": round(each.end - each.start, 3)}
        for each in captions_of(params, seconds)
    ]
    scene = {"id": "video", "duration": "auto", "layers": [video, *texts[: MAX_LAYERS - 1]]}
    movie = {**outline(params.output, size, params.bgColor), "title": "Subtitled", "scenes": [scene]}
    # They have the same clock: the film is this one scene.
    return {**movie, "layers": texts[MAX_LAYERS - 1 :]} if len(texts) >= MAX_LAYERS else movie


def _lit(params: Subtitles, captions: Sequence[Caption], size: tuple[int, int]) -> dict[str, Any]:
    """A layer of captions in which the word that is said is lit, or grows."""
    style, short = STYLES[params.style], min(size)
    entries = [{**_entry(each), "words": [_entry(word) for word in each.words]} for each in captions]
    layer: dict[str, Any] = {
        "type": "captions", "source": entries, "style": "pop" if params.highlight == "scale" else "karaoke", "maxLines": 3,
        "position": params.position, "fontSize": str(params.fontSize) if params.fontSize is not None else round(style.size * short),
        "fontWeight": style.layer.get("fontWeight", 500), "uppercase": style.layer.get("uppercase", False),
        "stroke": {"color": "#000000", "width": round(style.stroke * short)}, "highlight": style.lit,
    }  # fmt: skip
    colour = css(params.color) if params.color is not None else style.layer.get("color")
    layer |= {"color": colour} if colour is not None else {}
    layer |= {"fontFamily": literal(params.fontFamily)} if params.fontFamily is not None else {}
    if style.plate is not None:
        padding = round(style.padding * short)
        layer["background"] = {"color": style.plate, "padding": padding, "radius": padding}
    return layer


def _entry(caption: Caption) -> dict[str, Any]:
    return {"text": literal(caption.text), "start": round(caption.start, 3), "end": round(max(caption.start, caption.end), 3)}


def captions_of(params: Subtitles, until: float | None = None) -> list[Caption]:
    """Captions in order. A marker for words gives one that stands for them."""
    limits, asked = _limits(params)
    if isinstance(params.words, str):
        return [Caption("...", 0.0, 1.0)]
    if params.words is not None:
        captions = grouped([Caption(each.word.strip(), each.start, each.end) for each in params.words if each.word.strip()], limits)
    elif params.segments is not None:
        captions = [each for segment in params.segments for each in grouped(words_of(segment), limits)]
    else:
        # Whoever wrote an SRT has cut it already.
        captions = read_srt(params.srt or "")
        if asked:
            captions = [each for cue in captions for each in grouped(words_of(cue), limits)]
    return one_by_one(captions, until)


def _limits(params: Subtitles) -> tuple[Limits, bool]:
    usual = STYLES[params.style].limits
    asked = (params.wordsPerCaption, params.secondsPerCaption, params.charactersPerCaption)
    if not any(asked):
        return usual, False
    # What is asked for alone decides; the style's own numbers would cut a caption of ten words after its third.
    return Limits(asked[0] or (usual.words if asked[1] is None and asked[2] is None else 50), asked[1] or 60.0, asked[2] or 200), True


def _look(params: Subtitles, size: tuple[int, int]) -> dict[str, Any]:
    style, short = STYLES[params.style], min(size)
    # Players draw their own things over the lowest fifth of an upright film, and over little of a wide one.
    place = {"bottom": 0.76 if size[1] > size[0] else 0.92, "center": 0.5, "top": 0.14 if size[1] > size[0] else 0.08}[params.position]
    layer: dict[str, Any] = {
        "type": "text", "width": _WIDTH, "x": "50%", "y": f"{100 * place:g}%", "anchor": params.position,
        "fontSize": str(params.fontSize) if params.fontSize is not None else round(style.size * short), **style.layer,
    }  # fmt: skip
    if style.stroke:
        layer["stroke"] = {"color": "#000000", "width": max(1, round(style.stroke * short))}
    if style.plate is not None:
        padding = round(style.padding * short)
        layer["background"] = {"color": style.plate, "padding": padding, "radius": padding}
    if params.fontFamily is not None:
        layer["fontFamily"] = literal(params.fontFamily)
    if params.color is not None:
        layer["color"] = css(params.color)
    return layer


def subtitle_faults(params: Subtitles, known: Materials, at: str) -> list[Problem]:
    """What is wrong beyond the form."""
    given = [name for name in ("words", "segments", "srt") if getattr(params, name) is not None]
    if len(given) != 1:
        told = "give the words once: `words` with their times, `segments` of text, or an `srt`; exactly one of them"
        return [Problem(f"{at}/{given[1] if given else 'words'}", "FIELD_MISSING" if not given else "VALUE_NOT_ALLOWED", told)]
    problems = []
    if kind_of(params.video, None, known) in {"image", "audio"}:
        told = "words go on a video, and this is none; make one of it with `layer` or `merge` first"
        problems.append(Problem(f"{at}/video", "VALUE_NOT_ALLOWED", told))
    if params.highlight == "glow":
        told = "words do not glow yet; take `color`, which lights each as it is said, or `scale`"
        problems.append(Problem(f"{at}/highlight", "VALUE_NOT_ALLOWED", told))
    if isinstance(params.words, str):
        if marker_of(params.words) is None:
            problems.append(Problem(f"{at}/words", "VALUE_NOT_ALLOWED", _NO_WORDS))
        return problems
    entries = params.words if params.words is not None else params.segments
    if entries is not None:
        name = given[0]
        faults = out_of_order((each.start, each.end) for each in entries)
        problems += [Problem(f"{at}/{name}/{number}/start", "VALUE_OUT_OF_RANGE", told) for number, told in faults][:100]
    try:
        count = len(captions_of(params))
    except SrtInvalid as error:
        return [*problems, Problem(f"{at}/srt", "SRT_INVALID", str(error))]
    if count == 0:
        problems.append(Problem(f"{at}/{given[0]}", "FIELD_MISSING", "there are no words in this; write some"))
    most = MAX_CAPTIONS if params.highlight != "none" else MOST_CAPTIONS
    if count > most:
        told = f"these words make {count:,} captions, and a film takes {most:,}; raise wordsPerCaption, or split the video"
        problems.append(Problem(f"{at}/{given[0]}", "TOO_MANY", told))
    return problems


_NO_WORDS = "this is no list of words, and no job that gives some; write [{word, start, end}], or $jobId of a narration or generated voice"
