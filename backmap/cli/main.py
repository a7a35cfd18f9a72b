"""The ``backmap`` command: find the verb, run it, and turn what goes wrong into one sentence."""

from __future__ import annotations

import argparse
import errno
import gc
import io
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from backmap.errors import InputError, InputWarning
from backmap.limits import shown

_OBJECTS_PER_COLLECTION = 100_000
"""Atoms and residues of large files are many objects without cycles, which collections would go through again
and again."""

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

VERBS: dict[str, str] = {
    "reconstruct": "build all atoms of a coarse-grained structure or trajectory",
    "evaluate": "score built structures against a reference",
    "train": "train a model",
    "export": "write a model as a file that programs run without Python",
    "models": "list the models that come with backmap, or show a model's card",
    "info": "show how backmap was built, and what it runs on",
}
"""Verbs with what they do. The module ``backmap.cli.<verb>`` is imported only when its verb is used."""


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"backmap: error: {_on_one_line(message)} (see `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT)


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """Make the parser of the command line, with the arguments of one verb only."""
    usage, description = "backmap VERB [ARGUMENTS]", "Backmapping of coarse-grained proteins to all atoms."
    parser = _Parser(prog="backmap", usage=usage, description=description)
    verbs = parser.add_subparsers(
        dest="verb", required=True, title="verbs", metavar="VERB [ARGUMENTS]", prog="backmap"
    )
    for name, summary in VERBS.items():
        subparser = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == verb:
            module = import_module(f"backmap.cli.{name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 done, 2 bad input, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _show_names_that_cannot_be_written()
    try:
        with warnings.catch_warnings():
            _show_only_our_warnings()
            return _run(arguments)
    except InputError as error:
        print(f"backmap: error: {_on_one_line(str(error))}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        print(f"backmap: error: {shown(error.filename)}: {error.strerror}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("backmap: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(arguments: list[str]) -> int:
    _require_words(arguments)
    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    parsed = build_parser(verb).parse_args(arguments)
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        return parsed.run(parsed)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _require_words(arguments: Sequence[str]) -> None:
    """Refuse words that can be neither a name nor a number."""
    for place, word in enumerate(arguments):
        value = word.partition("=")[2] if word.startswith("--") and "=" in word else word
        if not value:
            before = f" after {arguments[place - 1]}" if place and not word else ""
            raise InputError(f"an argument{before or ' ' + word} is empty; give a value, or leave it out")
        if "\0" in word:
            raise InputError(f"the argument {shown(word)} holds a zero byte, which no name can")


def _show_names_that_cannot_be_written() -> None:
    """Print names of files that are no text, or that the terminal cannot show, with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _on_one_line(message: str) -> str:
    """Escape what names in a message may hold: line ends, and codes that a terminal would obey."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)


def _terminate(number: int, frame: object) -> NoReturn:
    """End on a request of the system as on an error, so that partial output is removed."""
    raise SystemExit(EXIT_TERMINATED)


def _show_only_our_warnings() -> None:
    """Print each warning about the input once, on one line; leave out those of libraries."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", InputWarning)
    warnings.showwarning = _print_warning


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"backmap: warning: {_on_one_line(str(message))}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
