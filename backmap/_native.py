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
        import torch  # loads the libraries that ours depends on
    except ImportError as error:
        raise ImportError("backmap needs PyTorch: install it with `pip install torch`.") from error
    try:
        built = import_module("backmap._built_with").TORCH
        # Patch releases share a C++ interface; any other release would fail with undefined symbols.
        library = import_module("backmap._core") if _release(built) == _release(torch.__version__) else None
    except ImportError as error:
        raise ImportError(
            "backmap's native library is missing or does not fit the installed PyTorch "
            f"({error}): build it with `pip install --no-build-isolation .` in backmap's source folder."
        ) from error
    if library is None:
        raise ImportError(
            f"backmap was built with PyTorch {built}, but PyTorch {torch.__version__} is installed: install "
            f"torch=={_release(built)}.*, or rebuild backmap with `pip install --no-build-isolation .` in "
            "backmap's source folder."
        )
    return library


def _release(version: str) -> str:
    """Return the major and minor number of a version."""
    return ".".join(version.split(".")[:2])


def library_path() -> Path:
    """Return the path of the operator library, for programs that load it without Python."""
    extension = load().__file__
    assert extension is not None  # an extension module always comes from a file
    return Path(extension).with_name("libbackmap.so")


def build_description() -> dict[str, str]:
    """Return version, compiler, torch and CUDA of the build; CUDA entries are empty without CUDA."""
    return load().build_description()
