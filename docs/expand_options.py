"""Extension of Griffe: functions that take options get the docstring they have when imported.

The source of these docstrings contains ``{options}`` where :func:`backmap.options.takes_options` inserts the
options, so the reference of the site would lack them.
"""

from __future__ import annotations

import inspect
from typing import Any

import griffe

MARK = "{options}"


class ExpandOptions(griffe.Extension):
    """Replaces docstrings that contain the mark by those of the imported functions."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Replace the docstring of one function."""
        if func.docstring is not None and MARK in func.docstring.value:
            func.docstring.value = inspect.getdoc(griffe.dynamic_import(func.path)) or ""
