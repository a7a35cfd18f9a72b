"""Errors and warnings for the user: one sentence about the input, without a traceback."""

from __future__ import annotations


class InputError(Exception):
    """The input or the request cannot be used. The message is one sentence: what, where, and the remedy.

    Quoted text from files may contain anything; unprintable characters are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class OptionError(InputError):
    """An option has an unusable value.

    Attributes
    ----------
    option : str
        Name of the option in Python.
    reason : str
        What is wrong, and what to do.
    """

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option, self.reason = option, reason


class InputEndsEarly(InputError):  # noqa: N818
    """A file ends in the middle of a frame; all its complete frames were read."""


class InputWarning(UserWarning):
    """Something in the input was left out, or is built in a way that the user may not expect."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Escape unprintable characters, such as line breaks and terminal control codes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
