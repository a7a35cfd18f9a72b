"""The settings of torch and numpy that backmap works with, whatever its caller has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def usual_settings() -> Iterator[None]:
    """Work with single precision, on the processor, with gradients allowed; then put the caller's back.

    Threads that are started meanwhile have these settings from the beginning, but for the precision, which
    is one for the process.
    """
    import torch

    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.device("cpu"),
            np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"),
        ):
            yield
    finally:
        torch.set_default_dtype(dtype)
