"""The layer models of the movie JSON: what a user may write inside `layers`. Defaults and limits stand here and nowhere else.

What does not belong here: movie and scene (spec.py), what a layer becomes (plan.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from viralsync_pipelines.movie.lengths import ColorField, LengthField
from viralsync_pipelines.movie.voicing import Fallback, Language, Pitch, Share, Speed, Style

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
# Two hours: no short film is longer, and 48 kHz float stereo of it still fits a laptop's disk (2.8 GB).
MAX_SECONDS = 7200.0
MAX_TEXT = 5_000
MAX_KEYFRAMES = 200
MAX_CAPTIONS = 2_000

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Volume = Annotated[float, Field(ge=0, le=2)]
Anchor = Literal[
    "center", "top", "bottom", "left", "right", "top-left", "top-right", "bottom-left", "bottom-right"
]
Easing = Literal[
    "linear", "ease", "ease-in", "ease-out", "ease-in-out", "ease-in-cubic", "ease-out-cubic", "ease-in-out-cubic",
    "ease-out-back", "ease-out-bounce", "step",
]  # fmt: skip
Blend = Literal["normal", "multiply", "screen", "overlay", "darken", "lighten", "addition", "difference", "softlight", "hardlight"]
Animated = Literal["x", "y", "width", "height", "scale", "rotation", "opacity", "volume"]


class Model(BaseModel):
    """Unknown fields are errors; numbers are numbers (no "5", no NaN); values do not change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Crop(Model):
    """The part of the source that is used, in lengths of the source's own size."""

    x: LengthField = Field(default="0%", validate_default=True)
    y: LengthField = Field(default="0%", validate_default=True)
    width: LengthField = Field(default="100%", validate_default=True)
    height: LengthField = Field(default="100%", validate_default=True)


class Animation(Model):
    """How a layer comes or goes. Without `easing`, fades and wipes are linear and everything else eases out."""

    type: Literal[
        "fade", "slide-left", "slide-right", "slide-up", "slide-down", "zoom", "pop",
        "wipe-left", "wipe-right", "wipe-up", "wipe-down", "blur",
    ]  # fmt: skip
    duration: Annotated[float, Field(gt=0, le=60)] = 0.5
    easing: Easing | None = None


class Keyframe(Model):
    """A value at a time (seconds from the layer's start); `easing` leads into this keyframe from the one before."""

    at: Seconds
    value: LengthField
    easing: Easing = "linear"


# What a keyframe may be worth, lowest and highest; None: a length, in pixels or per cent.
_RANGES: Mapping[str, tuple[float, float] | None] = {
    "x": None, "y": None, "width": None, "height": None,
    "scale": (0, 100), "rotation": (-36000, 36000), "opacity": (0, 1), "volume": (0, 2),
}  # fmt: skip


def _checked(tracks: dict[Any, list[Keyframe]]) -> dict[Any, list[Keyframe]]:
    """Times rise and values stay in their property's range. `at` in the error's context is the place below `keyframes`."""
    for name, track in tracks.items():
        limits = _RANGES[name]
        for n, key in enumerate(track):
            if n and key.at <= track[n - 1].at:
                raise PydanticCustomError(
                    "keyframes", "keyframes are sorted by `at`, and this one is not later than the one before; sort them, or remove one",
                    {"at": f"/{name}/{n}/at"},
                )  # fmt: skip
            if limits is None:
                continue
            if key.value.percent:
                raise PydanticCustomError(
                    "keyframes", "{name} is a plain number such as 0.5 here, not per cent", {"at": f"/{name}/{n}/value", "name": name}
                )
            if not limits[0] <= key.value.value <= limits[1]:
                raise PydanticCustomError(
                    "keyframe_range", "{name} lies between {low} and {high}",
                    {"at": f"/{name}/{n}/value", "name": name, "low": f"{limits[0]:g}", "high": f"{limits[1]:g}"},
                )  # fmt: skip
    return tracks


Track = Annotated[list[Keyframe], Field(min_length=1, max_length=MAX_KEYFRAMES)]
Keyframes = Annotated[dict[Animated, Track], AfterValidator(_checked)]
VolumeKeyframes = Annotated[dict[Literal["volume"], Track], AfterValidator(_checked)]


class Filters(Model):
    """Colour and focus. brightness, contrast and saturation are factors (1 leaves as is); blur in pixels; hue in degrees."""

    brightness: Annotated[float, Field(ge=0, le=4)] = 1.0
    contrast: Annotated[float, Field(ge=0, le=4)] = 1.0
    saturation: Annotated[float, Field(ge=0, le=4)] = 1.0
    grayscale: Annotated[float, Field(ge=0, le=1)] = 0.0
    sepia: Annotated[float, Field(ge=0, le=1)] = 0.0
    blur: Annotated[float, Field(ge=0, le=200)] = 0.0
    hue: Annotated[float, Field(ge=-360, le=360)] = 0.0


class ChromaKey(Model):
    """One colour becomes transparent: `similarity` how near, `blend` how soft."""

    color: ColorField
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.1
    blend: Annotated[float, Field(ge=0, le=1)] = 0.05


class View(Model):
    """What a Ken Burns move frames: the centre as a share of the picture (0-1), and how far in (1 is the whole)."""

    x: Annotated[float, Field(ge=0, le=1)] = 0.5
    y: Annotated[float, Field(ge=0, le=1)] = 0.5
    scale: Annotated[float, Field(ge=1, le=10)] = 1.0


class KenBurns(Model):
    """A slow move over a picture, smooth below the pixel."""

    from_: View = Field(default_factory=View, alias="from")
    to: View = Field(default_factory=lambda: View(scale=1.2))
    easing: Easing = "linear"


class GradientSpec(Model):
    """A linear gradient: `colors` evenly spaced along `angle` degrees, 180 being top to bottom as in CSS."""

    colors: Annotated[list[ColorField], Field(min_length=2, max_length=16)]
    angle: Annotated[float, Field(ge=-360, le=360)] = 180.0


class StrokeSpec(Model):
    color: ColorField = Field(default="#000000", validate_default=True)
    width: Annotated[float, Field(ge=0, le=200)] = 4.0


class ShadowSpec(Model):
    color: ColorField = Field(default="rgba(0,0,0,0.6)", validate_default=True)
    x: Annotated[float, Field(ge=-500, le=500)] = 0.0
    y: Annotated[float, Field(ge=-500, le=500)] = 4.0
    blur: Annotated[float, Field(ge=0, le=200)] = 8.0


class PlateSpec(Model):
    color: ColorField = Field(default="rgba(0,0,0,0.6)", validate_default=True)
    padding: Annotated[float, Field(ge=0, le=500)] = 16.0
    radius: Annotated[float, Field(ge=0, le=2000)] = 8.0


class AutoFit(Model):
    """The largest size between `min` and `max` that fits the layer's box."""

    min: Annotated[float, Field(ge=4, le=2000)] = 16.0
    max: Annotated[float, Field(ge=4, le=2000)] = 200.0

    @model_validator(mode="after")
    def _ordered(self) -> AutoFit:
        if self.min > self.max:
            raise PydanticCustomError("auto_fit", "min is larger than max; swap them")
        return self


class Timed(Model):
    """What every layer has, seen or heard."""

    id: Annotated[str, Field(pattern=ID_PATTERN)] | None = None
    start: Seconds = 0.0


class Visual(Timed):
    """What every layer that is seen has."""

    x: LengthField | None = None
    y: LengthField | None = None
    width: LengthField | None = None
    height: LengthField | None = None
    anchor: Anchor = "center"
    fit: Literal["cover", "contain", "fill", "none"] = "cover"
    crop: Crop | None = None
    opacity: Annotated[float, Field(ge=0, le=1)] = 1.0
    rotation: Annotated[float, Field(ge=-36000, le=36000)] = 0.0
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    zIndex: Annotated[int, Field(ge=-10_000, le=10_000)] = 0  # noqa: N815 - the wire's name
    borderRadius: LengthField = Field(default=0, validate_default=True)  # noqa: N815 - the wire's name
    blend: Blend = "normal"
    enter: Animation | None = None
    exit: Animation | None = None
    keyframes: Keyframes = Field(default_factory=dict)
    filters: Filters | None = None
    chromaKey: ChromaKey | None = None  # noqa: N815 - the wire's name



OwnLength = Annotated[float, Field(gt=0, le=MAX_SECONDS)] | Literal["auto", "scene"]


class VideoLayer(Visual):
    """A clip; its sound joins the mix."""

    type: Literal["video"]
    src: Annotated[str, Field(min_length=1, max_length=4096)]
    duration: OwnLength = "auto"
    trimStart: Seconds = 0.0  # noqa: N815 - the wire's name
    trimEnd: Seconds | None = None  # noqa: N815 - the wire's name
    speed: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    loop: bool = False
    volume: Volume = 1.0
    muted: bool = False
    fadeIn: Annotated[float, Field(ge=0, le=600)] = 0.0  # noqa: N815 - the wire's name
    fadeOut: Annotated[float, Field(ge=0, le=600)] = 0.0  # noqa: N815 - the wire's name
    kenBurns: KenBurns | None = None  # noqa: N815 - the wire's name


class ImageLayer(Visual):
    """A picture; animated GIF and WebP play, over and over."""

    type: Literal["image"]
    src: Annotated[str, Field(min_length=1, max_length=4096)]
    duration: OwnLength = "scene"
    kenBurns: KenBurns | None = None  # noqa: N815 - the wire's name


class TextLayer(Visual):
    """Words on the screen, shaped for their script."""

    type: Literal["text"]
    text: Annotated[str, Field(max_length=MAX_TEXT)]
    duration: OwnLength = "scene"
    fontFamily: Annotated[str, Field(min_length=1, max_length=200)] | None = None  # noqa: N815 - the wire's name
    fontUrl: Annotated[str, Field(min_length=1, max_length=4096)] | None = None  # noqa: N815 - the wire's name
    fontWeight: Annotated[int, Field(ge=1, le=1000)] | Literal["normal", "bold"] = 400  # noqa: N815 - the wire's name
    fontStyle: Literal["normal", "italic"] = "normal"  # noqa: N815 - the wire's name
    fontSize: LengthField = Field(default="5%", validate_default=True)  # noqa: N815 - the wire's name
    autoFit: AutoFit | None = None  # noqa: N815 - the wire's name
    color: ColorField = Field(default="#ffffff", validate_default=True)
    gradient: GradientSpec | None = None
    align: Literal["left", "center", "right", "start", "end"] = "center"
    lineHeight: Annotated[float, Field(ge=0.5, le=5)] = 1.2  # noqa: N815 - the wire's name
    letterSpacing: Annotated[float, Field(ge=-50, le=200)] = 0.0  # noqa: N815 - the wire's name
    uppercase: bool = False
    background: PlateSpec | None = None
    stroke: StrokeSpec | None = None
    shadow: ShadowSpec | None = None
    reveal: Literal["typewriter", "words", "lines"] | None = None


class AudioLayer(Timed):
    """Sound from a file: an effect, or with `duck` a bed that gives way under speech."""

    type: Literal["audio"]
    src: Annotated[str, Field(min_length=1, max_length=4096)]
    duration: OwnLength = "auto"
    trimStart: Seconds = 0.0  # noqa: N815 - the wire's name
    trimEnd: Seconds | None = None  # noqa: N815 - the wire's name
    speed: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    volume: Volume = 1.0
    loop: bool = False
    fadeIn: Annotated[float, Field(ge=0, le=600)] = 0.0  # noqa: N815 - the wire's name
    fadeOut: Annotated[float, Field(ge=0, le=600)] = 0.0  # noqa: N815 - the wire's name
    duck: bool = False
    keyframes: VolumeKeyframes = Field(default_factory=dict)


class VoiceLayer(Timed):
    """Words that are spoken; gives word timings. What it does not say of how comes from the movie's `speech`."""

    type: Literal["voice"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] | None = None
    ssml: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] | None = None
    voice: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    engine: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    speed: Speed = 1.0
    pitch: Pitch = 1.0
    style: Style | None = None
    stability: Share | None = None
    similarity: Share | None = None
    language: Language | None = None
    fallback: Fallback = Field(default_factory=list)
    pauseAfter: Annotated[float, Field(ge=0, le=60)] = 0.0  # noqa: N815 - the wire's name
    duration: OwnLength = "auto"
    volume: Volume = 1.0
    keyframes: VolumeKeyframes = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_text(self) -> VoiceLayer:
        if (self.text is None) == (self.ssml is None):
            raise PydanticCustomError("voice_text", "a voice layer says either `text` or `ssml`; give exactly one of them")
        return self


class ShapeLayer(Visual):
    """A drawn rectangle, ellipse or line."""

    type: Literal["shape"]
    shape: Literal["rect", "ellipse", "line"] = "rect"
    duration: OwnLength = "scene"
    color: ColorField = Field(default="#ffffff", validate_default=True)
    gradient: GradientSpec | None = None
    stroke: StrokeSpec | None = None
    radius: Annotated[float, Field(ge=0, le=4000)] = 0.0


class _CaptionTime(Model):
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    start: Seconds
    end: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> _CaptionTime:
        if self.end < self.start:
            raise PydanticCustomError("caption_times", "this ends before it begins; put its times in order")
        return self


class CaptionWord(_CaptionTime):
    """A word of a caption."""


class CaptionEntry(_CaptionTime):
    """Words of a caption, or a single word, from `start` to `end` in seconds of the layer. words: when each of them is said, if known."""

    words: Annotated[list[CaptionWord], Field(max_length=200)] = Field(default_factory=list)


class Emphasis(Model):
    """Words that are shown in a colour of their own whenever they come, in whatever case and with whatever punctuation."""

    words: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=200)]
    color: ColorField = Field(default="#ff4d4d", validate_default=True)


# By what it is, so that a fault in a list is told as that and not as no address.
CaptionSource = Annotated[
    Annotated[str, Field(min_length=1, max_length=4096), Tag("address")]
    | Annotated[list[CaptionEntry], Field(min_length=1, max_length=MAX_CAPTIONS), Tag("entries")],
    Discriminator(lambda value: "entries" if isinstance(value, list) else "address"),
]


class Captions(Model):
    """What captions show, and how. What is left out comes from the style.

    source: "voice" for every voice layer around, the id of one, the address of a caption file, or the captions themselves.
    """

    source: CaptionSource = "voice"
    style: Literal["karaoke", "pop", "boxed", "minimal", "subtitle"] = "karaoke"
    fontFamily: Annotated[str, Field(min_length=1, max_length=200)] | None = None  # noqa: N815 - the wire's name
    fontUrl: Annotated[str, Field(min_length=1, max_length=4096)] | None = None  # noqa: N815 - the wire's name
    fontWeight: Annotated[int, Field(ge=1, le=1000)] | Literal["normal", "bold"] | None = None  # noqa: N815 - the wire's name
    fontSize: LengthField | None = None  # noqa: N815 - the wire's name
    color: ColorField | None = None
    highlight: ColorField | None = None
    stroke: StrokeSpec | None = None
    background: PlateSpec | None = None
    uppercase: bool | None = None
    maxWords: Annotated[int, Field(ge=1, le=50)] | None = None  # noqa: N815 - the wire's name
    maxLines: Annotated[int, Field(ge=1, le=6)] | None = None  # noqa: N815 - the wire's name
    position: Literal["auto", "bottom", "center", "top"] | LengthField = "auto"
    safeArea: Literal["auto", "shorts", "tiktok", "reels", "none"] = "auto"  # noqa: N815 - the wire's name
    emphasis: Emphasis | None = None


class CaptionsLayer(Timed, Captions):
    """Captions of a scene or a film; they stand above everything else."""

    type: Literal["captions"]
    duration: OwnLength = "scene"


def caption_src(captions: Captions) -> str | None:
    """The address of a caption file, when `source` is one: an id has neither points nor colons."""
    source = captions.source
    return source if isinstance(source, str) and re.fullmatch(ID_PATTERN, source) is None else None


class WaveformLayer(Visual):
    """Sound as it is heard, in bars or as a line. `source`: a layer's id, every voice, or everything that is heard."""

    type: Literal["waveform"]
    source: Annotated[str, Field(pattern=ID_PATTERN, description='"voice", "mix", or the id of a voice, audio or video layer')] = "voice"
    mode: Literal["bars", "line"] = "bars"
    duration: OwnLength = "scene"
    color: ColorField = Field(default="#ffffff", validate_default=True)
    width: LengthField = Field(default="80%", validate_default=True)
    height: LengthField = Field(default="16%", validate_default=True)


class ProgressLayer(Visual):
    """A bar that is full with the last frame of the movie, or of its scene."""

    type: Literal["progress"]
    of: Literal["movie", "scene"] = "movie"
    duration: OwnLength = "scene"
    color: ColorField = Field(default="#ffffff", validate_default=True)
    background: ColorField | None = None
    anchor: Anchor = "bottom"
    width: LengthField = Field(default="100%", validate_default=True)
    height: LengthField = Field(default="1%", validate_default=True)


Layer = Annotated[
    VideoLayer | ImageLayer | TextLayer | AudioLayer | VoiceLayer | ShapeLayer | CaptionsLayer | WaveformLayer | ProgressLayer,
    Field(discriminator="type"),
]
