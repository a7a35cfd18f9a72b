"""Kinds of values and their limits, against which options, arguments and configurations are checked."""

from __future__ import annotations

import math
import operator
import os
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np

from backmap.errors import InputError

_LONGEST_NUMBER = 20
"""Longer numbers exceed any limit, and Python refuses to parse very long ones."""

_NUMERAL = re.compile("[0-9.eE+-]{1,50}")
"""Only plain ASCII numbers; Python also accepts digits of other scripts and underscores."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


def shown(value: object) -> str:
    """Return a short representation of any value for a message."""
    try:
        return _short.repr(value)
    except ValueError:  # Python refuses to write numbers of thousands of digits
        return f"a {type(value).__name__} of very many digits"


class Kind(Protocol):
    """A kind of values."""

    def check(self, value: object, name: str) -> Any:
        """Return the value as a plain value if it is of this kind.

        Raises
        ------
        InputError
            If it is not; ``name`` identifies the value in the message.
        """

    def parse(self, text: str) -> Any:
        """Parse a value; raise ValueError with one sentence if it is not of this kind."""


@dataclass(frozen=True)
class Whole:
    """Whole numbers from ``lowest`` to ``highest``, inclusive."""

    lowest: int
    highest: int

    def __str__(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}"

    def check(self, value: object, name: str) -> int:
        """Return the number if it is in range; NumPy integers are accepted, booleans are not.

        Raises
        ------
        InputError
            If it is not; ``name`` identifies the number in the message.
        """
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            number = operator.index(value)
            if self.lowest <= number <= self.highest:
                return number
        raise InputError(f"{name} is {shown(value)}; give {self}")

    def parse(self, text: str) -> int:
        """Parse a number; raise ValueError with one sentence if it is not in range."""
        if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER:
            number = int(text)
            if self.lowest <= number <= self.highest:
                return number
        raise ValueError(f"{shown(text)} is not {self}")


@dataclass(frozen=True)
class Real:
    """Numbers from ``lowest`` to ``highest``, inclusive."""

    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"a number from {self.lowest:g} to {self.highest:g}"

    def check(self, value: object, name: str) -> float:
        """Return the number if it is in range; NumPy numbers are accepted, booleans are not.

        Raises
        ------
        InputError
            If it is not; ``name`` identifies the number in the message.
        """
        kinds = int | float | np.integer | np.floating
        if isinstance(value, kinds) and not isinstance(value, bool) and self._holds(value):
            return float(value)
        raise InputError(f"{name} is {shown(value)}; give {self}")

    def parse(self, text: str) -> float:
        """Parse a number; raise ValueError with one sentence if it is not in range."""
        try:
            number = float(text) if _NUMERAL.fullmatch(text) else math.nan
        except ValueError:
            number = math.nan
        if not self._holds(number):
            raise ValueError(f"{shown(text)} is not {self}")
        return number

    def _holds(self, number: float | np.integer | np.floating) -> bool:
        return bool(self.lowest <= number <= self.highest)


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def check(self, value: object, name: str) -> bool:
        """Return the boolean; NumPy booleans are accepted, numbers are not."""
        if not isinstance(value, bool | np.bool_):
            raise InputError(f"{name} is {shown(value)}; give True or False")
        return bool(value)

    def parse(self, text: str) -> bool:
        """Refuse any value: flags are given only by their name."""
        raise ValueError(f"{shown(text)} is not expected")


@dataclass(frozen=True)
class OneOf:
    """One of several words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"

    def check(self, value: object, name: str) -> str:
        """Return the word if it is one of ``words``."""
        if not (isinstance(value, str) and value in self.words):
            raise InputError(f"{name} is {shown(value)}; give {self}")
        return value

    def parse(self, text: str) -> str:
        """Parse a word."""
        if text not in self.words:
            raise ValueError(f"{shown(text)} is not {self}")
        return text


@dataclass(frozen=True)
class Name:
    """File names, or other free text."""

    what: str = "a file name"

    def __str__(self) -> str:
        return self.what

    def check(self, value: object, name: str) -> str:
        """Return the name as a string."""
        if not is_path(value) or not os.fspath(value) or "\0" in os.fspath(value):
            raise InputError(f"{name} is {shown(value)}; give {self.what}")
        return os.fspath(value)

    def parse(self, text: str) -> str:
        """Accept any text."""
        return text


@dataclass(frozen=True)
class Several:
    """One or more values of a kind."""

    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind}, or several"

    def check(self, value: object, name: str) -> tuple[Any, ...]:
        """Return the values as a tuple; a single file name is accepted."""
        if is_path(value):
            return (self.kind.check(value, name),)
        if not isinstance(value, Sequence | np.ndarray) or isinstance(value, bytes) or not len(value):
            raise InputError(f"{name} is {shown(value)}; give {self}")
        return tuple(self.kind.check(entry, name) for entry in value)

    def parse(self, text: str) -> Any:
        """Parse one of the values."""
        return self.kind.parse(text)


def is_path(value: object) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether a value can name a file."""
    return isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str)
