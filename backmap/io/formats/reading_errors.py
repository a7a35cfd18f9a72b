"""Errors of libraries that cannot read a file, as one sentence about that file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backmap.errors import InputError

from ..naming import HDF5_SUFFIXES, suffix_of

_LONGEST_REASON = 200


def unreadable(path: Path, reason: str, kind: str | None = None) -> InputError:
    """Return the error, with a reason, for a file that cannot be read as a kind (by default its suffix's)."""
    kind = kind or suffix_of(path).lstrip(".").upper()
    return InputError(
        f"{path}: cannot be read as {kind}; it is damaged or in another format ({_one_line(reason)})"
    )


def missing_package(path: Path, package: str | None) -> InputError:
    """Return the error that names the package needed to read a file."""
    kind = suffix_of(path).lstrip(".").upper()
    needed = "tables" if suffix_of(path) in HDF5_SUFFIXES else (package or "another package").split(".")[0]
    return InputError(f"{path}: reading {kind} needs a package; install it with `pip install {needed}`")


@contextmanager
def explain_reading(path: Path, kind: str | None = None) -> Iterator[None]:
    """Turn whatever a library's parser raises into one sentence; wrap only calls of libraries."""
    try:
        yield
    except ImportError as error:
        raise missing_package(path, error.name) from error
    except Exception as error:
        raise unreadable(path, str(error) or type(error).__name__, kind) from error


def _one_line(reason: str) -> str:
    """Return a library's message on one line, shortened if necessary."""
    line = " ".join(reason.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]} ..."
