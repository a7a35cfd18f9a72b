"""The ``backmap`` command: find the verb, run it, and report errors in one sentence."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from backmap import __version__
from backmap.errors import InputError, InputWarning, OptionError
from backmap.limits import shown

from .console import prepare_streams, show, tell
from .options import option_of

_OBJECTS_PER_COLLECTION = 100_000
"""Large files and imports create many objects without reference cycles, which frequent garbage collections
would traverse repeatedly."""

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that request termination; the exit code is 128 plus the signal number."""

VERBS: dict[str, str] = {
    "reconstruct": "build all atoms of a coarse-grained structure or trajectory",
    "coarse-grain": "write the beads of a structure or trajectory of atoms",
    "evaluate": "score built structures against a reference",
    "train": "train a model",
    "simulate": "simulate a coarse-grained molecule with a trained force field",
    "export": "write a model to a file that programs run without Python",
    "models": "list the models that come with backmap, or show a model card",
    "beads": "list the coarse-grained representations that can be read, or show one",
    "info": "show how backmap was built, and what it runs on",
}
"""Verbs and their summaries. The module ``backmap.cli.<verb>`` is imported only when its verb is used."""


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        tell(f"backmap: error: {message} (see `{self.prog} --help`)")
        raise SystemExit(EXIT_BAD_INPUT)

    def _print_message(self, message: str, file: object = None) -> None:
        """Print the help."""
        show(message.rstrip("\n"))


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """Make the parser of the command line, with the arguments of one verb only."""
    usage, description = "backmap VERB [ARGUMENTS]", "Backmapping of coarse-grained proteins to all atoms."
    parser = _Parser(prog="backmap", usage=usage, description=description)
    parser.add_argument("--version", action="version", version=f"backmap {__version__}")
    verbs = parser.add_subparsers(
        dest="verb", required=True, title="verbs", metavar="VERB [ARGUMENTS]", prog="backmap"
    )
    for name, summary in VERBS.items():
        description = summary[0].upper() + summary[1:] + "."
        subparser = verbs.add_parser(name, help=summary, description=description, allow_abbrev=False)
        if name == verb:
            module = import_module(f"backmap.cli.{name.replace('-', '_')}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 for success, 2 for bad input, 130 if interrupted, 128 plus the signal number if stopped by a signal.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    try:
        with warnings.catch_warnings():
            _show_only_our_warnings()
            return _run(arguments)
    except InputError as error:
        _tell_notes(error)
        tell(f"backmap: error: {_described(error)}")
        return EXIT_BAD_INPUT
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        tell(f"backmap: error: {shown(error.filename)}: {error.strerror}")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interrupt:
        _tell_notes(interrupt)
        tell("backmap: interrupted")
        return EXIT_INTERRUPTED
    except _Stopped as stopped:
        _tell_notes(stopped)
        return 128 + stopped.signal_number


def command() -> NoReturn:
    """Run the command line as a program that exits when ``main`` returns.

    When the program is told to stop, threads that are still building are not waited for: their batches would
    not be written.
    """
    code = main()
    gc.freeze()  # or the interpreter would look through all objects of PyTorch again before it ends
    if code > 128:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])
    _require_words(arguments)
    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser = build_parser(verb)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        _refuse_unknown(parsed, unknown)
    with _ending_on_signals():  # not before: an exception in the middle of an import may abort the program
        return parsed.run(parsed)


class _Stopped(BaseException):
    """A signal asked the program to stop."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Treat termination signals as errors, so that partial output is removed.

    Ignored signals, as under nohup, stay ignored; only the main thread can handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, _stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop(number: int, frame: object) -> NoReturn:
    raise _Stopped(number)


def _refuse_unknown(parsed: argparse.Namespace, unknown: Sequence[str]) -> NoReturn:
    """Refuse arguments that a verb does not take, with the options they are most like."""
    known = [option_of(name) for name in vars(parsed)]
    near = [match for word in unknown for match in get_close_matches(word.partition("=")[0], known, 1)]
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    tell(
        f"backmap: error: unrecognized arguments: {' '.join(unknown)}{hint} "
        f"(see `backmap {parsed.verb} --help`)"
    )
    raise SystemExit(EXIT_BAD_INPUT)


def _described(error: InputError) -> str:
    """Describe an error, with options spelled as on the command line."""
    return f"{option_of(error.option)}: {error.reason}" if isinstance(error, OptionError) else str(error)


def _tell_notes(error: BaseException) -> None:
    """Print the notes of an exception."""
    for note in getattr(error, "__notes__", ()):
        tell(f"backmap: {note}")


def _require_words(arguments: Sequence[str]) -> None:
    """Refuse arguments that can be neither a name nor a number."""
    for place, word in enumerate(arguments):
        value = word.partition("=")[2] if word.startswith("--") and "=" in word else word
        if not value:
            before = f" after {arguments[place - 1]}" if place and not word else ""
            raise InputError(f"an argument{before or ' ' + word} is empty; give a value or leave it out")
        if "\0" in word:
            raise InputError(f"the argument {shown(word)} contains a null byte; remove it")


def _show_only_our_warnings() -> None:
    """Print warnings about the input, each on one line; suppress warnings of libraries."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", InputWarning)
    warnings.showwarning = _print_warning


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    tell(f"backmap: warning: {message}")


if __name__ == "__main__":
    command()
