"""`layer`: pictures, clips and sounds over one another, as one scene of a movie. Pure.

What belongs here: placements in words, keys, whose length the film has. What does not: how a movie is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.generate.film_params import Box, ChromaKeyed, Layered, LayerParams
from viralsync_pipelines.generate.materials import STILL_S, Materials, css, kind_of, kind_unknown, literal, outline, size_of

GREEN = (0, 255, 0, 255)
# Of the shorter side: how far from the edges what stands at one is kept.
_MARGIN = 0.04
_SIDE = re.compile(r"([wh])-(?:(\d{1,2})/(\d{1,2})|(\d{1,3})%|(full))")
_PLACES: Mapping[str, tuple[float, float]] = {
    "center": (0.5, 0.5), "top": (0.5, 0), "bottom": (0.5, 1), "left": (0, 0.5), "right": (1, 0.5),
    "top-left": (0, 0), "top-right": (1, 0), "bottom-left": (0, 1), "bottom-right": (1, 1),
}  # fmt: skip
_NAMED: Mapping[str, str] = {"pip": "w-1/4 bottom-right", "picture-in-picture": "w-1/4 bottom-right", "full": "w-full h-full"}


def layered(params: Layered, known: Materials) -> dict[str, Any]:
    """The movie. Everything in `params` has been judged by layer_faults."""
    kinds = [kind_of(each.media, each.type, known) for each in params.layers]
    seen = [each.media for each, kind in zip(params.layers, kinds, strict=True) if kind in {"video", "image"}]
    size = size_of(params.output, seen, known)
    led = any(each.main for each in params.layers)
    # A film that something leads, or whose length is given, lets everything else play until it ends.
    bound = led or params.output.duration is not None
    layers = [_layer(each, kind or "video", size, bound=bound) for each, kind in zip(params.layers, kinds, strict=True)]
    scene = {"id": "layers", "duration": _length(params, kinds), "layers": layers}
    return {**outline(params.output, size, params.bgColor), "title": "Layers", "scenes": [scene]}


def _length(params: Layered, kinds: Sequence[str | None]) -> Any:
    if params.output.duration is not None:
        return params.output.duration
    main = next(((each, kind) for each, kind in zip(params.layers, kinds, strict=True) if each.main), None)
    if main is not None:
        return "{{ main.end }}" if main[1] != "image" else main[0].start + (main[0].duration or STILL_S)
    own = any(kind != "image" and not each.loop for each, kind in zip(params.layers, kinds, strict=True))
    stills = [each.start + each.duration for each, kind in zip(params.layers, kinds, strict=True) if kind == "image" and each.duration]
    return "auto" if own else max(stills, default=STILL_S)


def _layer(params: LayerParams, kind: str, size: tuple[int, int], *, bound: bool) -> dict[str, Any]:
    layer: dict[str, Any] = {"type": kind, "src": literal(params.media)}
    if params.main:
        layer["id"] = "main"
    if params.start:
        layer["start"] = params.start
    if params.duration is not None:
        layer["duration"] = params.duration
    elif kind != "image" and (params.loop or (bound and not params.main)):
        layer["duration"] = "scene"
    if kind != "image":
        layer["volume"] = params.volume
        if params.loop:
            layer["loop"] = True
    if kind == "audio":
        return layer
    layer |= _place(params.placement, size)
    if params.fit is not None:
        layer["fit"] = params.fit
    key = _key(params)
    if key is not None:
        layer["chromaKey"] = key
    return layer


def _key(params: LayerParams) -> dict[str, Any] | None:
    given = params.chromaKey
    if given is False or (given is None and params.chromaKeyColor is None):
        return None
    own = given if isinstance(given, ChromaKeyed) else ChromaKeyed()
    key: dict[str, Any] = {"color": css(own.color or params.chromaKeyColor or GREEN)}
    similarity = own.similarity if own.similarity is not None else params.similarity
    blend = own.blend if own.blend is not None else params.blend
    return key | {name: value for name, value in (("similarity", similarity), ("blend", blend)) if value is not None}


# ---- places ----------------------------------------------------------------------------------------------------------


def _place(placement: str | Box | None, size: tuple[int, int]) -> dict[str, Any]:
    if isinstance(placement, Box):
        box = {name: str(value) for name in ("x", "y", "width", "height") if (value := getattr(placement, name)) is not None}
        # One side alone keeps the picture's shape.
        whole = {} if "width" in box or "height" in box else {"width": "100%", "height": "100%"}
        return {"x": 0, "y": 0, **whole, **box, "anchor": placement.anchor}
    words = _NAMED.get(placement or "full", placement or "full")
    if words == "center":
        # All of it in the middle, with some room around.
        return {"width": "80%", "height": "80%", "fit": "contain"}
    sides, anchor = read_placement(words) or ({}, "center")
    if not sides:
        sides = {"width": 50.0}
    box = {name: f"{share:g}%" for name, share in sides.items()}
    px, py = _PLACES[anchor]
    margin = round(min(size) * _MARGIN)
    for axis, place, side in (("x", px, 0), ("y", py, 1)):
        if place != 0.5 and sides.get("width" if side == 0 else "height", 0) < 100:
            box[axis] = str(margin if place == 0 else size[side] - margin)
    return {**box, "anchor": anchor}


def read_placement(words: str) -> tuple[dict[str, float], str] | None:
    """Sides in per cent and the anchor of `w-1/4 bottom-right`; None for what is no placement."""
    sides: dict[str, float] = {}
    anchor = ""
    for word in words.split():
        found = _SIDE.fullmatch(word)
        if found is not None:
            name = "width" if found[1] == "w" else "height"
            share = 100.0 if found[5] else float(found[4]) if found[4] else 100 * int(found[2]) / max(1, int(found[3]))
            if name in sides or not 0 < share <= 100 or found[3] in {"0", "00"}:
                return None
            sides[name] = round(share, 4)
        elif word in _PLACES and not anchor:
            anchor = word
        else:
            return None
    return (sides, anchor or "center") if sides or anchor else None


def layer_faults(params: Layered, known: Materials, at: str) -> list[Problem]:
    """What is wrong beyond the form."""
    problems = []
    mains = [number for number, each in enumerate(params.layers) if each.main]
    led = f"layer {mains[0]} leads the film already; one alone can" if mains else ""
    problems += [Problem(f"{at}/layers/{number}/main", "VALUE_NOT_ALLOWED", led) for number in mains[1:]]
    visible = False
    for number, each in enumerate(params.layers):
        place = f"{at}/layers/{number}"
        kind = kind_of(each.media, each.type, known)
        visible = visible or kind != "audio"
        if kind is None:
            problems.append(kind_unknown(place))
        if each.main and each.loop:
            told = "what leads the film ends it, and cannot loop; take one of them out"
            problems.append(Problem(f"{place}/loop", "VALUE_NOT_ALLOWED", told))
        words = each.placement
        if isinstance(words, str) and words not in _NAMED and read_placement(words) is None:
            told = "this is no placement; write full, center, pip, such as \"w-1/4 bottom-right\", or an object with x, y, width and height"
            problems.append(Problem(f"{place}/placement", "VALUE_NOT_ALLOWED", told))
    if not visible:
        problems.append(Problem(f"{at}/layers", "FIELD_MISSING", "there is nothing to be seen; add a video or an image"))
    return problems
