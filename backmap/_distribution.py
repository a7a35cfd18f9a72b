"""The name of this distribution, and of another project whose files would mix with ours."""

from importlib.metadata import PackageNotFoundError, distribution

NAME = "backmap-md"
"""Name of the distribution, for `pip install`."""

_OTHER = "backmap"
"""Name of another project on PyPI that also installs a package called ``backmap``."""


def version() -> str:
    """Return the installed version, or ``unknown``."""
    try:
        return distribution(NAME).version
    except PackageNotFoundError:  # imported from a source folder that was not installed
        return "unknown"


def refuse_other() -> None:
    """Refuse to run if the other project is installed.

    Raises
    ------
    ImportError
        If the other project is installed, before or after this one; the message says what to do.
    """
    try:
        found = distribution(_OTHER).version
    except PackageNotFoundError:
        return
    raise ImportError(
        f"the distribution `{_OTHER}` {found} is installed, another project whose files mix with those of "
        f"{NAME}: run `pip uninstall {_OTHER}`, then `pip install --force-reinstall --no-deps {NAME}`."
    )
