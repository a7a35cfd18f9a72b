"""Printing of the command, in any state of its standard streams."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from contextlib import suppress
from io import TextIOWrapper

from backmap.errors import InputError, printable

EXIT_BROKEN_PIPE = 141

_WIDEST = 100


def prepare_streams() -> None:
    """Ensure that the standard streams exist and accept any text.

    Closed streams are connected to the null device: otherwise the next file to be opened would get their
    descriptor, and messages of libraries would end up in it. File names that are not valid text are escaped.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free descriptor
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(message: str) -> None:
    """Print a message on one line of standard error; continue if standard error cannot be written."""
    with suppress(OSError):
        print(printable(message), file=sys.stderr, flush=True)


def show(*paragraphs: str) -> None:
    """Print results on standard output, with empty lines between paragraphs.

    Raises
    ------
    SystemExit
        If the reader of a pipe has gone; the exit code is that of other programs in this case.
    InputError
        If the output cannot be written for another reason.
    """
    try:
        print(*paragraphs, sep="\n\n", flush=True)
    except BrokenPipeError:
        _discard_output()
        raise SystemExit(EXIT_BROKEN_PIPE) from None
    except OSError as error:
        _discard_output()
        raise InputError(f"standard output: cannot be written: {error.strerror}") from error


def filled(text: str, indent: str = "  ") -> str:
    """Wrap text to the width of the terminal; lines after the first are indented.

    Unprintable characters, such as terminal control codes in text from files, are escaped.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    return textwrap.fill(
        printable(re.sub(r"\s", " ", text)), width, subsequent_indent=indent, break_on_hyphens=False
    )


def _discard_output() -> None:
    """Connect standard output to the null device, or flushing its buffer would fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
