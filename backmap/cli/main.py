"""The ``backmap`` command: find the verb, run it, and turn what goes wrong into one sentence."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from backmap.errors import InputError, InputWarning

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
        print(f"backmap: error: {message} (see `{self.prog} --help`)", file=sys.stderr)
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
    try:
        with warnings.catch_warnings():
            _show_only_our_warnings()
            return _run(arguments)
    except InputError as error:
        print(f"backmap: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("backmap: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(arguments: list[str]) -> int:
    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    parsed = build_parser(verb).parse_args(arguments)
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        return parsed.run(parsed)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(number: int, frame: object) -> NoReturn:
    """End on a request of the system as on an error, so that partial output is removed."""
    raise SystemExit(EXIT_TERMINATED)


def _show_only_our_warnings() -> None:
    """Print each warning about the input once, on one line; leave out those of libraries."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", InputWarning)
    warnings.showwarning = _print_warning


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"backmap: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
