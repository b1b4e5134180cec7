"""An order's parameters as its provider names them. Pure; what is odd about one provider alone is its adapter's.

The catalogue's `options.names` says which of ours have another name there (image: image_url), `fixed` what is sent with every job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from viralsync_pipelines.generate.provider import Order


def input_of(order: Order) -> dict[str, Any]:
    """What is sent: the parameters, renamed, and what is fixed over them."""
    names = order.model.options.get("names", {})
    return {names.get(name, name): value for name, value in order.params.items()} | dict(order.model.fixed)


def renamed(params: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The params that are given, by the provider's names for them. names: ours to theirs."""
    return {theirs: params[ours] for ours, theirs in names.items() if params.get(ours) is not None}


def pictures_of(params: Mapping[str, Any]) -> list[str]:
    """Every picture of an order, `image` before `images`."""
    return [*([params["image"]] if params.get("image") else []), *(params.get("images") or [])]


def data_uri(address: str) -> tuple[str, str] | None:
    """MIME type and base64 of a `data:` address; None for other addresses, and for one that is not base64."""
    head, comma, payload = address.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    return head[len("data:") : -len(";base64")].partition(";")[0] or "application/octet-stream", payload
