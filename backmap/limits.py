"""Which numbers make sense: ranges that options, arguments and configurations are checked against."""

from __future__ import annotations

import math
import operator
import re
import reprlib
from dataclasses import dataclass

import numpy as np

from backmap.errors import InputError

_LONGEST_NUMBER = 20
"""Digits beyond which a number is larger than any limit; Python refuses to read very long ones."""

_NUMERAL = re.compile("[0-9.eE+-]{1,50}")
"""Python itself reads digits of all alphabets, and underscores, too."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


def shown(value: object) -> str:
    """Write a value for a message, in few characters whatever it is."""
    return _short.repr(value)


@dataclass(frozen=True)
class Whole:
    """Whole numbers from the lowest to the highest."""

    lowest: int
    highest: int

    def __str__(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}"

    def check(self, value: object, name: str) -> int:
        """Give the number back if it is one of these; numpy's integers count, truth values do not.

        Raises
        ------
        InputError
            If it is not; ``name`` says which number in the message.
        """
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            number = operator.index(value)
            if self.lowest <= number <= self.highest:
                return number
        raise InputError(f"{name} is {shown(value)}; give {self}")

    def parse(self, text: str) -> int:
        """Read a number. Raises ValueError with one sentence if it is none of these."""
        if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER:
            number = int(text)
            if self.lowest <= number <= self.highest:
                return number
        raise ValueError(f"{shown(text)} is not {self}")


@dataclass(frozen=True)
class Real:
    """Numbers from the lowest to the highest."""

    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"a number from {self.lowest:g} to {self.highest:g}"

    def check(self, value: object, name: str) -> float:
        """Give the number back if it is one of these; numpy's numbers count, truth values do not.

        Raises
        ------
        InputError
            If it is not; ``name`` says which number in the message.
        """
        kinds = int | float | np.integer | np.floating
        if isinstance(value, kinds) and not isinstance(value, bool) and self._holds(value):
            return float(value)
        raise InputError(f"{name} is {shown(value)}; give {self}")

    def parse(self, text: str) -> float:
        """Read a number. Raises ValueError with one sentence if it is none of these."""
        try:
            number = float(text) if _NUMERAL.fullmatch(text) else math.nan
        except ValueError:
            number = math.nan
        if not self._holds(number):
            raise ValueError(f"{shown(text)} is not {self}")
        return number

    def _holds(self, number: float) -> bool:
        return bool(self.lowest <= number <= self.highest)
