"""Command-line options, declared by the fields of a dataclass."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from backmap.limits import Flag, Kind, OneOf, Several
from backmap.options import Option, applies_to, defaults_of, options_of


def add_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, kind: type, names: Iterable[str] | None = None
) -> None:
    """Add options to a parser: the named ones, or all."""
    for name in names or options_of(kind):
        add_option(parser, kind, name)


def add_option(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, kind: type, name: str, *spellings: str
) -> None:
    """Add one option, spelled ``--name`` by default; a spelling without dashes makes it positional."""
    known, defaults = options_of(kind)[name], defaults_of(kind)
    settings: dict[str, Any] = {
        "help": f"{known.help}{applies_to(known)}{_default(known, defaults.get(name))}"
    }
    spelled = spellings or (option_of(name),)
    if spelled[0].startswith("-"):
        settings |= {"dest": name, "default": defaults.get(name), "required": name not in defaults}
    parser.add_argument(*spelled, **settings, **_values(known))


def _default(known: Option, default: Any) -> str:
    """Describe the default of an option; empty if not informative."""
    meaning = known.unset or ("" if default is None or isinstance(known.values, Flag) else default)
    return f" [{meaning}]" if meaning != "" else ""


def option_of(name: str) -> str:
    """Return the spelling of an option on the command line."""
    return f"--{name.replace('_', '-')}"


def _values(known: Option) -> dict[str, Any]:
    """Return the arguments of argparse for the values of an option."""
    values = known.values
    if isinstance(values, Flag):
        return {"action": "store_true"}
    if isinstance(values, OneOf):
        return {"choices": values.words}
    several = {"nargs": "+"} if isinstance(values, Several) else {}
    return {"type": _reader(values), "metavar": known.metavar, **several}


def _reader(values: Kind) -> Callable[[str], Any]:
    """Return a function that reads a value, as argparse expects it."""

    def read(text: str) -> Any:
        try:
            return values.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read
