"""Measured times as names: which ids a document declares, and what `hook.end` means at one place of it.

What belongs here: Timing, the declared ids, and looking a name up from a scene or from the movie.
What does not: measuring (timing.py and the steps), expressions around the names (expressions.py).

Keys of measured times: "<scene id>" for a scene, "<scene id>/<layer id>" for its layers, "/<layer id>" for the movie's own.
An id that is no name in an expression is reached with '_' for '-' (`my_layer.end`), or as `layer("1st").end`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

PARTS = ("start", "end", "duration")


@dataclass(frozen=True)
class Timing:
    """Float seconds, None what is not known yet. A scene counts from the start of the movie, a layer from that of its scene
    (or of the movie)."""

    start: float | None
    end: float | None
    duration: float | None


@dataclass(frozen=True)
class Declared:
    """Ids of a document: each scene's id with the ids of its layers, and the ids of the movie's own layers."""

    scenes: Mapping[str, tuple[str, ...]]
    layers: tuple[str, ...]

    def keys(self) -> Iterator[str]:
        """Every key a measurement of this document may have."""
        for scene, layers in self.scenes.items():
            yield scene
            yield from (f"{scene}/{layer}" for layer in layers)
        yield from (f"/{layer}" for layer in self.layers)


@dataclass(frozen=True)
class Index:
    """Names as expressions spell them -> ids. `elsewhere` leads from a layer's name to the keys of all layers so named."""

    scenes: Mapping[str, str] = field(default_factory=dict)
    inside: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    movie: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def index(declared: Declared) -> Index:
    """Built once for a document; about a microsecond for each id."""
    shared: dict[tuple[str, ...], Mapping[str, str]] = {}
    inside: dict[str, Mapping[str, str]] = {}
    elsewhere: dict[str, list[str]] = {}
    for scene, layers in declared.scenes.items():
        if layers not in shared:
            shared[layers] = _spelled(layers)
        inside[scene] = shared[layers]
        for name, layer in inside[scene].items():
            elsewhere.setdefault(name, []).append(f"{scene}/{layer}")
    return Index(
        _spelled(declared.scenes), inside, _spelled(declared.layers), {name: tuple(keys) for name, keys in elsewhere.items()}
    )


def _spelled(ids: Collection[str]) -> dict[str, str]:
    """Each id under its own name and with '_' for '-'; an exact name wins, and a spelling that fits two ids fits none."""
    spelled: dict[str, str | None] = {}
    for each in ids:
        if "-" in each:
            name = each.replace("-", "_")
            spelled[name] = None if name in spelled else each
    spelled.update({each: each for each in ids})
    return {name: each for name, each in spelled.items() if each is not None}


@dataclass(frozen=True)
class Times:
    """Measured times as seen from one place: inside `scene` (written as `base` before it was repeated), or the movie (None).

    A name means, in this order: a layer of the own scene, a scene, a layer of the movie, a layer of one other scene; seen
    from the movie, its own layers come before its scenes. `dropped` holds keys of what a condition took out.
    """

    index: Index = field(default_factory=Index)
    measured: Mapping[str, Timing] = field(default_factory=dict)
    scene: str | None = None
    base: str | None = None
    dropped: Collection[str] = frozenset()

    def find(self, name: str) -> tuple[str, ...]:
        """Keys that `name` may mean: none when nothing is called so, several when it has to be said more exactly."""
        own = self.index.inside.get(self.scene or "", {})
        if self.scene is not None and name in own:
            return (f"{self.scene}/{own[name]}",)
        movie = (f"/{self.index.movie[name]}",) if name in self.index.movie else ()
        return (movie if self.scene is None else ()) or self.find_scene(name) or movie or self._elsewhere(name)

    def find_scene(self, name: str) -> tuple[str, ...]:
        if self.scene is not None and self.base is not None and name in (self.base, self.base.replace("-", "_")):
            return (self.scene,)
        return (self.index.scenes[name],) if name in self.index.scenes else ()

    def find_layer(self, name: str, scene: str | None = None) -> tuple[str, ...]:
        """Keys of layers only; of the layers of `scene` when one is given."""
        if scene is not None:
            inside = self.index.inside.get(scene, {})
            return (f"{scene}/{inside[name]}",) if name in inside else ()
        if self.scene is not None and (found := self.find_layer(name, self.scene)):
            return found
        return (f"/{self.index.movie[name]}",) if name in self.index.movie else self._elsewhere(name)

    def _elsewhere(self, name: str) -> tuple[str, ...]:
        keys = self.index.elsewhere.get(name, ())
        if len(keys) > 1 and self.dropped:
            return tuple(key for key in keys if key not in self.dropped) or keys[:1]
        return keys

    def names(self) -> Iterator[str]:
        """Names that lead somewhere from here, nearest first; for suggestions."""
        yield from self.index.inside.get(self.scene or "", {})
        yield from self.index.scenes
        yield from self.index.movie
        yield from self.index.elsewhere


def declared_ids(document: Mapping[str, Any]) -> Declared:
    """Ids of an expanded document. What is no string or no object is passed over; validation names it."""
    scenes: dict[str, tuple[str, ...]] = {}
    for scene in _objects(document.get("scenes")):
        if isinstance(scene.get("id"), str):
            scenes[scene["id"]] = scenes.get(scene["id"], ()) + layer_ids(scene.get("layers"))
    return Declared(scenes, layer_ids(document.get("layers")))


def layer_ids(layers: object) -> tuple[str, ...]:
    return tuple(layer["id"] for layer in _objects(layers) if isinstance(layer.get("id"), str))


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())
