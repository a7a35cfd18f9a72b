"""Judge all-atom structures built by any tool. Definitions: docs/evaluation.md."""

from importlib import import_module
from typing import Any

__all__ = ["MEASURES", "Estimate", "Scorecard", "combine", "score"]


def __getattr__(name: str) -> Any:
    """Import the measures on first use: bad input is refused without them."""
    if name not in __all__:
        raise AttributeError(f"module 'backmap.evaluation' has no attribute {name!r}")
    return getattr(import_module("backmap.evaluation.scorecard"), name)
