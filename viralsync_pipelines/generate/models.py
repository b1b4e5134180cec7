"""The registry of models: which provider runs each, what it takes, how its end is learned of, what it costs. Models are data.

What belongs here: reading catalogues and judging parameters. What does not: the models themselves (catalog/*.json, one file for each
provider, and a file of one's own named by VIRALSYNC_MODELS), how a provider is spoken to (providers/).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from viralsync_pipelines.errors import Problem, SettingsError

if TYPE_CHECKING:
    from viralsync_pipelines.generate.provider import Media

Strategy = Literal["webhook", "polling", "none"]
TYPES = ("generate.image", "generate.video", "generate.talking_head", "generate.audio", "generate.voice")
_STRATEGIES = ("webhook", "polling", "none")
# What a price is for: a whole job, each picture or second that was made, a thousand characters that were spoken.
_PER = ("job", "output", "second", "kilochar")


@dataclass(frozen=True)
class Price:
    """US dollars for each job, output, second of output, or thousand characters of input: an estimate, where the provider tells none."""

    usd: float
    per: str = "job"


@dataclass(frozen=True)
class Model:
    """One model. endpoint: its name at the provider. params: JSON Schema of its parameters, an object. type: of its jobs.

    strategies: how its end can be learned of; `none` when the provider answers with the result at once. fixed: sent with every job, as
    the provider names it. options: whatever else the adapter needs to know.
    """

    id: str
    provider: str
    media: Media
    type: str
    endpoint: str
    params: Mapping[str, Any]
    strategies: tuple[Strategy, ...]
    default_strategy: Strategy
    price: Price | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def cost_usd(self, *, outputs: int, seconds: float, characters: int) -> float | None:
        """What a job comes to by its price; None without one."""
        if self.price is None:
            return None
        amount = {"job": 1.0, "output": float(outputs), "second": seconds, "kilochar": characters / 1000}[self.price.per]
        return round(self.price.usd * amount, 6)


class Registry:
    """Models by id."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def get(self, model_id: str) -> Model | None:
        return self._models.get(model_id)

    def unknown(self, model_id: object, pointer: str) -> Problem:
        """Why this is no model, with the nearest names."""
        near = difflib.get_close_matches(str(model_id)[:100], list(self._models), n=3, cutoff=0.4) or sorted(self._models)[:3]
        return Problem(pointer, "MODEL_UNKNOWN", f"there is no model {str(model_id)[:100]!r}; try {' or '.join(map(repr, near))}")

    def default_for(self, job_type: str, provider: str = "sandbox") -> Model | None:
        """The model for plans that name none: the embedded provider's of that type."""
        return next((model for model in self if model.type == job_type and model.provider == provider), None)


def check_params(model: Model, params: Mapping[str, Any], at: str) -> list[Problem]:
    """Every fault of these parameters, with its place under `at`. Pure."""
    faults = _validator(json.dumps(model.params, sort_keys=True)).iter_errors(dict(params))
    found = [Problem(_place(at, list(each.absolute_path)), "PARAM_INVALID", f"{_said(each)} ({model.id})") for each in faults]
    return sorted(found)


def _place(at: str, path: list[Any]) -> str:
    from viralsync_pipelines.movie.document import child

    for part in path:
        at = child(at, part)
    return at


def _said(error: Any) -> str:
    words: str = error.message
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        return f"{words[:200]}; it takes {', '.join(known)}"
    if error.validator == "required":
        return f"{words[:200]}, which the model needs"
    if len(words) > 300:
        return f"this does not fit {error.validator} {str(error.validator_value)[:150]}"
    return words


@cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are a package of their own

    return Draft202012Validator(json.loads(schema))


# ---- catalogues ------------------------------------------------------------------------------------------------------


def load_registry(own: Path | None = None) -> Registry:
    """The models that come with the program, and those of a file of one's own over them. Raises SettingsError."""
    models = dict(_shipped())
    if own is not None:
        try:
            listed = json.loads(own.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"VIRALSYNC_MODELS names {own}, which cannot be read as JSON ({error})") from error
        models |= {model.id: model for model in _read(listed, str(own))}
    return Registry(models)


@cache
def _shipped() -> Mapping[str, Model]:
    found: dict[str, Model] = {}
    for file in sorted(files("viralsync_pipelines.generate").joinpath("catalog").iterdir(), key=lambda each: each.name):
        if file.name.endswith(".json"):
            found |= {model.id: model for model in _read(json.loads(file.read_text(encoding="utf-8")), file.name)}
    return found


def _read(listed: Any, where: str) -> Iterator[Model]:
    if not isinstance(listed, list):
        raise SettingsError(f"{where} is no list of models; see viralsync_pipelines/generate/catalog for how one looks")
    for number, each in enumerate(listed):
        try:
            price = each.get("price")
            model = Model(
                id=each["id"], provider=each["provider"], media=each["media"], type=each["type"], endpoint=each.get("endpoint", each["id"]),
                params=each["params"], strategies=tuple(each["strategies"]), default_strategy=each["strategies"][0],
                price=Price(float(price["usd"]), price.get("per", "job")) if price else None, fixed=each.get("fixed", {}),
                options=each.get("options", {}),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise SettingsError(f"model {number} of {where} is not whole ({error!r}); compare it with the shipped catalogues") from error
        wrong = model.type not in TYPES or not set(model.strategies) <= set(_STRATEGIES) or (model.price and model.price.per not in _PER)
        if wrong:
            raise SettingsError(f"model {model.id!r} of {where}: type is one of {TYPES}, strategies of {_STRATEGIES}, price per {_PER}")
        yield model
