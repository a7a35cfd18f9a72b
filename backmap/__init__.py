"""Backmapping of coarse-grained protein trajectories to all atoms."""

from importlib.metadata import PackageNotFoundError, version

from backmap import _native

try:
    __version__ = version("backmap")
except PackageNotFoundError:  # imported from a source folder that was never installed
    __version__ = "unknown"

_native.load()
