"""Backmapping of coarse-grained protein trajectories to all atoms."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from backmap import _native

try:
    __version__ = version("backmap")
except PackageNotFoundError:  # imported from a source folder that was never installed
    __version__ = "unknown"

_native.load()

_HOMES = {
    "reconstruct": "backmap.api",
    "reconstruct_files": "backmap.api",
    "reconstruct_stream": "backmap.stream",
    "evaluate": "backmap.scoring",
    "evaluate_trajectory": "backmap.trajectory_scoring",
    "Topology": "backmap.chemistry",
    "InputError": "backmap.errors",
}
"""Public names and the modules they come from when first used: `import backmap` stays quick."""

__all__ = [
    "InputError",
    "Topology",
    "__version__",
    "evaluate",
    "evaluate_trajectory",
    "reconstruct",
    "reconstruct_files",
    "reconstruct_stream",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'backmap' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
