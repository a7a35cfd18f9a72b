"""What backmap tells its user: one sentence about the input, without a traceback."""

from __future__ import annotations


class InputError(Exception):
    """The input or the request cannot be used. The message is one sentence: what, where, and the remedy.

    Words of a file that the message quotes may hold anything; what cannot be printed is written as an escape.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class OptionError(InputError):
    """An option cannot be used as it was given.

    Attributes
    ----------
    option : str
        Its name in Python.
    reason : str
        What is wrong, and what to do about it.
    """

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option, self.reason = option, reason


class InputEndsEarly(InputError):  # noqa: N818
    """A file ends in the middle of a frame, and all its whole frames were read."""


class InputWarning(UserWarning):
    """Something in the input was left out or is built in a way its author may not expect."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Escape what cannot be printed: line ends, and codes that a terminal would obey."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
