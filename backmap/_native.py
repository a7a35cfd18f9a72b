"""Loading of the operator library."""

from importlib import import_module
from pathlib import Path
from types import ModuleType


def load() -> ModuleType:
    """Load the native library, which registers the operators with torch, and return its Python module.

    Raises
    ------
    ImportError
        If torch or the library cannot be loaded; the message says what to do.
    """
    try:
        import torch  # noqa: F401  # loads the libraries that ours refers to
    except ImportError as error:
        raise ImportError("backmap needs PyTorch: install it with `pip install torch`.") from error
    try:
        return import_module("backmap._core")
    except ImportError as error:
        raise ImportError(
            "backmap's native library is missing or does not fit the installed PyTorch "
            f"({error}): build it with `pip install --no-build-isolation .` in backmap's source folder."
        ) from error


def library_path() -> Path:
    """Path of the operator library, for programs that load it without Python."""
    return Path(load().__file__).with_name("libbackmap.so")


def build_description() -> dict[str, str]:
    """Version, compiler, torch and CUDA of the build; empty strings for CUDA if it was left out."""
    return load().build_description()
