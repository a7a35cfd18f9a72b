"""Types of options: what a word on the command line must look like, said in one sentence."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from backmap.options import NUMBERS


def number(name: str) -> Callable[[str], int | float]:
    """Give the reader of a number, by the name of its option in :data:`backmap.options.NUMBERS`."""

    def read(text: str) -> int | float:
        try:
            return NUMBERS[name].parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read
