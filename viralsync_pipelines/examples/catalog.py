"""The example movies that come with the package: `product`, `quote-loop`, `data-explainer`, `audiogram`.

What belongs here: finding them. What does not: rendering (cli/demo.py, notebook.py), making their media (make_media.py).
"""

from __future__ import annotations

from pathlib import Path

DEMO = "product"


def example_names() -> tuple[str, ...]:
    """Names of the examples, the demo first."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.json"))
    return (DEMO, *(name for name in found if name != DEMO))


def example_path(name: str) -> Path:
    """The movie JSON of an example; its `src` fields are relative to the folder it lies in. FileNotFoundError for other names."""
    path = Path(__file__).with_name(f"{name}.json")
    if not path.is_file():
        raise FileNotFoundError(f"there is no example {name!r}; there are {', '.join(example_names())}")
    return path
