import pytest
import torch

from tests.corpus import corpus_folder

__all__ = ["corpus_folder"]


@pytest.fixture(autouse=True)
def one_thread():
    """Many small steps, which threads would only slow down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
