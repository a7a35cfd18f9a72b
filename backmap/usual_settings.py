"""Settings of torch and numpy that backmap relies on, independent of the caller's."""

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
    """Use single precision, the CPU and enabled gradients; restore the caller's settings on exit.

    New threads start with the same settings, which are torch's defaults, except for the precision, which is
    global to the process. So does a torch that is not imported yet, and it is not imported here: much bad
    input is refused without it. A process forked from one that had loaded torch uses a single thread:
    OpenMP threads are not inherited by a fork, and it would wait for them forever.
    """
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        if "torch" not in sys.modules:
            yield
            return
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
            ):
                yield
        finally:
            torch.set_default_dtype(dtype)
