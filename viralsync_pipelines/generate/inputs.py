"""An order's parameters as its provider names them. Pure; what is odd about one provider alone is its adapter's.

The catalogue's `options.names` says which of ours have another name there (image: image_url), `fixed` what is sent with every job.
"""

from __future__ import annotations

from typing import Any

from viralsync_pipelines.generate.provider import Order


def input_of(order: Order) -> dict[str, Any]:
    """What is sent: the parameters, renamed, and what is fixed over them."""
    names = order.model.options.get("names", {})
    return {names.get(name, name): value for name, value in order.params.items()} | dict(order.model.fixed)
