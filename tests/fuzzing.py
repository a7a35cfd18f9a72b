"""How long fuzz tests go on: a fixed number of tries in the suite, as long as asked for by ``make fuzz``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator


def tries(count: int) -> Iterator[int]:
    """Give seeds: ``count`` of them in the suite, or new ones until BACKMAP_FUZZ_SECONDS are over."""
    seconds = float(os.environ.get("BACKMAP_FUZZ_SECONDS", "0"))
    if not seconds:
        yield from range(count)
        return
    end, seed = time.monotonic() + seconds, count
    while time.monotonic() < end:
        yield seed
        seed += 1
