"""A small JSON file beside every output, with its inputs, model, seed and versions."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import backmap

from .staging import explain_writing


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(path: str | Path) -> dict[str, str]:
    """Return the name and the SHA-256 of a file."""
    return {"path": str(path), "sha256": sha256(path)}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version(), "backmap": backmap.__version__}
    for package in ("torch", "numpy", "mdtraj", "gemmi"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def version_key() -> dict[str, str]:
    """Return the versions as entries of what ``resume`` compares, by the names used in messages."""
    return {f"version of {package}": version for package, version in versions().items()}


def write_manifest(path: Path, entries: Mapping[str, object]) -> None:
    """Write how an output was made, including the versions used.

    Parameters
    ----------
    path : Path
        File to write, ``<output>.backmap.json``.
    entries : mapping
        What to record, as JSON values.
    """
    with explain_writing(path):
        path.write_text(json.dumps({**entries, "versions": versions()}, indent=2) + "\n", encoding="utf-8")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the entries of a manifest, without versions; none if it is missing or damaged."""
    found: object = None
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_bytes())
    return (
        {name: entry for name, entry in found.items() if name != "versions"}
        if isinstance(found, dict)
        else {}
    )


def read_outputs(path: Path) -> list[str]:
    """Return the outputs that a manifest lists, by name: files in its own folder; empty if it lists none."""
    names = read_manifest(path).get("outputs")
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str) and name and name == Path(name).name]
