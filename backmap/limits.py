"""What values make sense: kinds that options, arguments and configurations are checked against."""

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
"""Digits beyond which a number is larger than any limit; Python refuses to read very long ones."""

_NUMERAL = re.compile("[0-9.eE+-]{1,50}")
"""Python itself reads digits of all alphabets, and underscores, too."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


def shown(value: object) -> str:
    """Write a value for a message, in few characters whatever it is."""
    return _short.repr(value)


class Kind(Protocol):
    """Values of one kind."""

    def check(self, value: object, name: str) -> Any:
        """Give a plain value back if it is one of these.

        Raises
        ------
        InputError
            If it is not; ``name`` says whose value it is in the message.
        """

    def parse(self, text: str) -> Any:
        """Read a value. Raises ValueError with one sentence if it is none of these."""


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

    def _holds(self, number: float | np.integer | np.floating) -> bool:
        return bool(self.lowest <= number <= self.highest)


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def check(self, value: object, name: str) -> bool:
        """Give the truth value back; numpy's count, numbers do not."""
        if not isinstance(value, bool | np.bool_):
            raise InputError(f"{name} is {shown(value)}; give True or False")
        return bool(value)

    def parse(self, text: str) -> bool:
        """Flags are given by their name only."""
        raise ValueError(f"{shown(text)} is not expected")


@dataclass(frozen=True)
class OneOf:
    """One of some words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"

    def check(self, value: object, name: str) -> str:
        """Give the word back if it is one of these."""
        if not (isinstance(value, str) and value in self.words):
            raise InputError(f"{name} is {shown(value)}; give {self}")
        return value

    def parse(self, text: str) -> str:
        """Read a word."""
        if text not in self.words:
            raise ValueError(f"{shown(text)} is not {self}")
        return text


@dataclass(frozen=True)
class Name:
    """Names of files, or other text without an end."""

    what: str = "the name of a file"

    def __str__(self) -> str:
        return self.what

    def check(self, value: object, name: str) -> str:
        """Give the name back as text."""
        if not is_path(value) or not os.fspath(value) or "\0" in os.fspath(value):
            raise InputError(f"{name} is {shown(value)}; give {self.what}")
        return os.fspath(value)

    def parse(self, text: str) -> str:
        """Take any text."""
        return text


@dataclass(frozen=True)
class Several:
    """One or more values of a kind."""

    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind}, or several"

    def check(self, value: object, name: str) -> tuple[Any, ...]:
        """Give the values back; a single one counts."""
        if is_path(value):
            return (self.kind.check(value, name),)
        if not isinstance(value, Sequence | np.ndarray) or isinstance(value, bytes) or not len(value):
            raise InputError(f"{name} is {shown(value)}; give a sequence")
        return tuple(self.kind.check(entry, name) for entry in value)

    def parse(self, text: str) -> Any:
        """Read one of the values."""
        return self.kind.parse(text)


def is_path(value: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a value names a file."""
    return isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str)
