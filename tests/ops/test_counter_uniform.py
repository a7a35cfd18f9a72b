import pytest
import torch

from backmap.ops import counter_uniform, reference

operator = torch.ops.backmap.counter_uniform.default


def arguments(keys=(2, 3), counters=(4, 5)) -> list:
    big = 2**62
    return [torch.randint(-big, big, keys), 7, torch.randint(0, big, counters)]


@pytest.mark.parametrize("purpose", [0, -1, 2**63 - 1])
def test_matches_reference(purpose):
    keys, _, counters = arguments()
    found = counter_uniform(keys, purpose, counters)
    assert torch.equal(found, reference.counter_uniform(keys, purpose, counters))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads):
    args, before = arguments((300,), (200,)), torch.get_num_threads()
    expected = operator(*args)
    try:
        torch.set_num_threads(threads)
        assert torch.equal(operator(*args), expected)
    finally:
        torch.set_num_threads(before)


def test_numbers_are_uniform():
    numbers = counter_uniform(torch.arange(100), 3, torch.arange(1000)).double()
    assert 0 <= numbers.min() and numbers.max() < 1
    counts = torch.histc(numbers, bins=50, min=0, max=1)
    assert ((counts - 2000).square() / 2000).sum() < 100  # chi squared of 49 degrees of freedom
    assert abs(numbers.mean() - 0.5) < 5 * (1 / 12 / 1e5) ** 0.5


def test_empty_and_single():
    assert operator(*arguments((0,), (3,))).shape == (0, 3)
    assert operator(*arguments((), ())).shape == ()


def test_opcheck():
    torch.library.opcheck(operator, tuple(arguments()))


def test_cuda_matches_cpu(cuda, to_device):
    args = arguments((30,), (1000,))
    assert torch.equal(operator(*to_device(args, cuda)).cpu(), operator(*args))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({0: torch.zeros(3)}, TypeError, "keys must have dtype"),
        ({2: torch.zeros(3)}, TypeError, "counters must have dtype"),
        (
            {2: torch.zeros(3, dtype=torch.int64, device="meta")},
            ValueError,
            "counters must be on the device",
        ),
    ],
)
def test_bad_input(changes, error, message):
    args = arguments()
    for number, value in changes.items():
        args[number] = value
    with pytest.raises(error, match=f"counter_uniform: .*{message}"):
        operator(*args)
