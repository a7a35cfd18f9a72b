"""What all tests share: reproducible random numbers, one thread, and a GPU where there is one."""

import os
import signal
from collections.abc import Iterator

import pytest
import torch

# Programs started in the background by a shell ignore interrupts, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# As in a worker. Threads would only slow down the many small steps, and the last bits of matrix products
# depend on their number.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """No test changes the number of threads of the next one."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def cuda() -> torch.device:
    """A GPU; without one the test is skipped, or fails if BACKMAP_REQUIRE_CUDA=1."""
    if not torch.cuda.is_available():
        reason = "no GPU, or torch without CUDA"
        if os.environ.get("BACKMAP_REQUIRE_CUDA") == "1":
            pytest.fail(f"BACKMAP_REQUIRE_CUDA=1, but {reason}")
        pytest.skip(reason)
    return torch.device("cuda")
