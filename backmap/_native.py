"""Loading of the operator library."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_MISSING = (
    "backmap's native library is missing or does not fit the installed PyTorch ({}): build it with "
    "`pip install --no-build-isolation .` in backmap's source folder."
)


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
    check(torch.__version__)
    try:
        return import_module("backmap._core")
    except ImportError as error:
        raise ImportError(_MISSING.format(error)) from error


def check(torch_version: str) -> None:
    """Check that the native library is there and fits a version of torch, without loading either.

    Raises
    ------
    ImportError
        If not; the message says what to do.
    """
    built = build_description()["torch"]
    if find_spec("backmap._core") is None:
        raise ImportError(_MISSING.format("no module named backmap._core"))
    # Patch releases share a C++ interface; any other release would fail with undefined symbols.
    if _release(built) != _release(torch_version):
        raise ImportError(
            f"backmap was built with PyTorch {built}, but PyTorch {torch_version} is installed: install "
            f"torch=={_release(built)}.*, or rebuild backmap with `pip install --no-build-isolation .` in "
            "backmap's source folder."
        )


def build_description() -> dict[str, str]:
    """Return version, compiler, torch and CUDA of the build; CUDA entries are empty without CUDA.

    Raises
    ------
    ImportError
        If backmap has not been built.
    """
    try:
        built = import_module("backmap._built_with")
    except ImportError as error:
        raise ImportError(_MISSING.format(error)) from error
    names = ("version", "compiler", "torch", "cuda", "cuda_architectures")
    return {name: getattr(built, name.upper()) for name in names}


def _release(version: str) -> str:
    """Return the major and minor number of a version."""
    return ".".join(version.split(".")[:2])


def library_path() -> Path:
    """Return the path of the operator library, for programs that load it without Python."""
    extension = load().__file__
    assert extension is not None  # an extension module always comes from a file
    return Path(extension).with_name("libbackmap.so")
