"""Backmapping of coarse-grained protein trajectories to all atoms."""

from importlib import import_module
from typing import Any

from backmap import _distribution

_distribution.refuse_other()
DISTRIBUTION = _distribution.NAME
__version__ = _distribution.version()

_HOMES = {
    "reconstruct": "backmap.api",
    "reconstruct_files": "backmap.api",
    "reconstruct_stream": "backmap.stream",
    "simulate": "backmap.api",
    "evaluate": "backmap.evaluation.scoring",
    "evaluate_trajectory": "backmap.evaluation.trajectory_scoring",
    "Topology": "backmap.chemistry",
    "InputError": "backmap.errors",
}
"""Public names and their modules, which are imported on first use so that `import backmap` is fast."""

__all__ = [
    "DISTRIBUTION",
    "InputError",
    "Topology",
    "__version__",
    "evaluate",
    "evaluate_trajectory",
    "reconstruct",
    "reconstruct_files",
    "reconstruct_stream",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'backmap' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
