"""The settings of torch and numpy that backmap works with, whatever its caller has set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_forked_with_torch = False


def _note_fork() -> None:
    global _forked_with_torch
    _forked_with_torch = "torch" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextmanager
def usual_settings() -> Iterator[None]:
    """Work with single precision, on the processor, with gradients allowed; then put the caller's back.

    Threads that are started meanwhile have these settings from the beginning, but for the precision, which
    is one for the process. A process that was forked from one that had loaded torch stays with one thread:
    the threads of OpenMP are not forked with it, and it would wait for them for ever.
    """
    import torch

    if _forked_with_torch:
        torch.set_num_threads(1)
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.device("cpu"),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
            np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"),
        ):
            yield
    finally:
        torch.set_default_dtype(dtype)
