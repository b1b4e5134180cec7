"""A film's captions as files beside it: SRT, VTT, word JSON, and an ASS that people edit and give back as the `source`. Pure.

What belongs here: from tracks to texts. What does not: formats of cues (caption_files.py), what libass is given (render/): there each word
stands alone, which nobody can edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from viralsync_pipelines.movie.art import CaptionLook, Rgba
from viralsync_pipelines.movie.caption_art import Caption
from viralsync_pipelines.movie.caption_files import Cue, CueWord, write_srt, write_vtt, write_words
from viralsync_pipelines.movie.captioned import CaptionTrack
from viralsync_pipelines.movie.picture import Canvas

if TYPE_CHECKING:
    import pysubs2

# Players size letters by the height that a font claims for its lines; of Inter, and about of most, 1.21 ems.
_LINE_EMS = 1.21


def sheets_of(tracks: Sequence[CaptionTrack], canvas: Canvas, title: str) -> Mapping[str, bytes]:
    """Each file by its name, captions.srt and so on; none for a film without captions."""
    captions = sorted((caption for track in tracks for caption in track.captions), key=lambda caption: (caption.first, caption.last))
    if not captions:
        return {}
    cues = [cue_of(caption, canvas.fps) for caption in captions]
    texts = {
        "captions.srt": write_srt(cues), "captions.vtt": write_vtt(cues), "captions.json": write_words(cues),
        "captions.ass": _ass(captions, canvas, title),
    }  # fmt: skip
    return {name: text.encode() for name, text in texts.items()}


def cue_of(caption: Caption, fps: Fraction) -> Cue:
    words = tuple(CueWord(word.text, _ms(word.first, fps), _ms(word.last, fps)) for word in caption.words)
    return Cue(_ms(caption.first, fps), _ms(caption.last, fps), caption.text, words)


def _ms(frame: int, fps: Fraction) -> int:
    return round(1000 * frame / fps)


def _ass(captions: Sequence[Caption], canvas: Canvas, title: str) -> str:
    import pysubs2

    script = pysubs2.SSAFile()
    script.info = {
        "Title": " ".join(title.split())[:200], "ScriptType": "v4.00+", "PlayResX": str(canvas.width), "PlayResY": str(canvas.height),
        "ScaledBorderAndShadow": "yes", "WrapStyle": "2", "YCbCr Matrix": "TV.709",
    }  # fmt: skip
    script.styles = {}
    names: dict[CaptionLook, str] = {}
    for caption in captions:
        if caption.look not in names:
            names[caption.look] = "Captions" if not names else f"Captions {len(names) + 1}"
            script.styles[names[caption.look]] = _style(caption.look, canvas)
        event = pysubs2.SSAEvent(_ms(caption.first, canvas.fps), _ms(caption.last, canvas.fps), _timed(caption, canvas.fps))
        event.style = names[caption.look]
        script.append(event)
    return script.to_string("ass")


def _style(look: CaptionLook, canvas: Canvas) -> pysubs2.SSAStyle:
    import pysubs2

    x, y, width, height = look.box
    style = pysubs2.SSAStyle(
        fontname=(look.family or "Inter").split(",")[0].strip("\"' "), fontsize=round(look.size * _LINE_EMS), bold=look.weight >= 600,
        primarycolor=_colour(look.highlight or look.color), secondarycolor=_colour(look.color), encoding=-1,
        marginl=round(x), marginr=round(canvas.width - x - width), shadow=0.0,
    )  # fmt: skip
    places = pysubs2.Alignment
    style.alignment = {"bottom": places.BOTTOM_CENTER, "center": places.MIDDLE_CENTER, "top": places.TOP_CENTER}[look.side]
    style.marginv = round(y if look.side == "top" else canvas.height - y - height)
    if look.plate is not None:
        style.borderstyle, style.outline, style.outlinecolor = 3, look.plate.padding / 2, _colour(look.plate.color)
        style.backcolor = style.outlinecolor
    elif look.stroke is not None:
        style.outline, style.outlinecolor = look.stroke.width, _colour(look.stroke.color)
    if look.shadow is not None:
        style.shadow, style.backcolor = max(1.0, look.shadow.y), _colour(look.shadow.color)
    return style


def _colour(colour: Rgba) -> pysubs2.Color:
    import pysubs2

    red, green, blue, alpha = colour
    return pysubs2.Color(red, green, blue, 255 - alpha)


def _timed(caption: Caption, fps: Fraction) -> str:
    r"""The words with the time that each is said, \k in hundredths of a second counted from the page's start, so that nothing adds up."""
    parts, told = [], 0
    begin = Fraction(caption.first) / fps
    for number, word in enumerate(caption.words):
        until = round(100 * (Fraction(word.last) / fps - begin))
        before = "" if number == 0 else "\\N" if word.broken else "" if word.glued else " "
        parts.append(f"{before}{{\\k{until - told}}}{_plain(word.text)}")
        told = until
    return "".join(parts)


def _plain(text: str) -> str:
    # As caption_script.escaped has it; other players show the braces' backslashes, and no reader takes them for commands.
    return text.replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}")
