"""The name this package is installed under, and another project's that would mix its files with ours."""

from importlib.metadata import PackageNotFoundError, distribution

NAME = "backmap-md"
"""Name of the distribution: what `pip install` takes."""

_OTHER = "backmap"
"""Name of another project on the Python package index, which also installs a package called ``backmap``."""


def version() -> str:
    """Give the version that is installed, or ``unknown``."""
    try:
        return distribution(NAME).version
    except PackageNotFoundError:  # imported from a source folder that was never installed
        return "unknown"


def refuse_other() -> None:
    """Refuse to run beside the other project.

    Raises
    ------
    ImportError
        If it is installed, whichever of the two came last; the message says what to do.
    """
    try:
        found = distribution(_OTHER).version
    except PackageNotFoundError:
        return
    raise ImportError(
        f"the distribution `{_OTHER}` {found} is installed, another project whose files mix with those of "
        f"{NAME}: run `pip uninstall {_OTHER}`, then `pip install --force-reinstall --no-deps {NAME}`."
    )
