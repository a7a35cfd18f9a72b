import math

import pytest
import torch

from backmap.ops import joint_penalty, reference

from .operators import joints

operator = torch.ops.backmap.joint_penalty.default


def arguments(batch=(5,), previous=4, angles=72, dtype=torch.float32) -> dict:
    return joints(batch, dtype, previous, angles)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sizes", [{}, {"batch": (2, 3), "angles": 12}, {"batch": (), "previous": 1, "angles": 1}], ids=str
)
def test_matches_reference(sizes, dtype):
    args = arguments(**sizes, dtype=dtype)
    torch.testing.assert_close(joint_penalty(**args), reference.joint_penalty(**args))


def test_a_table_of_cells_is_read_at_the_torsions():
    """All turns of both torsions, with a table whose values name the cells."""
    cells, middles = 180, torch.arange(180, dtype=torch.float64) * math.pi / 90 - math.pi + 0.01
    forms = torch.zeros(180, 3, 5, 3, dtype=torch.float64)
    for number, wave in ((1, middles.sin()), (3, middles.cos())):
        forms[:, 0, number, 0] = 3 * wave  # the first torsion, but for a positive factor
    forms[:, 0, 2, 2], forms[:, 0, 4, 1] = 0.1, 0.1  # the second one is the own angle
    table = torch.arange(cells * cells, dtype=torch.float64).view(1, cells, cells)
    waves = torch.stack([torch.ones_like(middles), middles.cos(), middles.sin()])
    one = torch.ones(180, 1, dtype=torch.float64)
    found = joint_penalty(forms, torch.zeros(180, dtype=torch.int64), table, one, 0 * one, waves)
    assert torch.equal(found[:, 0], table[0])


def test_without_torsions_and_strains_all_angles_are_equal():
    args = arguments() | {"forms": torch.zeros(5, 3, 5, 3)}
    found = joint_penalty(**args)
    assert (found == found[..., :1]).all()


def test_gradcheck():
    """There is no gradient, and asking for one is an error."""
    args = arguments()
    args["forms"].requires_grad_()
    with pytest.raises(RuntimeError, match="joint_penalty"):
        operator(**args).sum().backward()


def test_opcheck():
    torch.library.opcheck(operator, tuple(arguments().values()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    args = list(arguments(batch=(300,), dtype=dtype).values())
    torch.testing.assert_close(operator(*to_device(args, cuda)).cpu(), operator(*args))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cosine": torch.zeros(5, 4).half()}, TypeError, "cosine must have dtype"),
        ({"sine": torch.zeros(5, 3)}, ValueError, "sine must have shape"),
        ({"forms": torch.zeros(5, 3, 4, 3)}, ValueError, "forms must have shape .* 5 quantities or more"),
        ({"forms": torch.zeros(4, 3, 6, 3)}, ValueError, "forms must have shape"),
        ({"kinds": torch.full((5,), 3)}, ValueError, r"kinds must lie in \[0, 3\), got 3"),
        ({"kinds": torch.zeros(5)}, TypeError, "kinds must have dtype"),
        ({"table": torch.zeros(3, 6, 5)}, ValueError, "table must have shape"),
        ({"waves": torch.zeros(2, 72)}, ValueError, "waves must have shape"),
        ({"waves": torch.zeros(3, 72, device="meta")}, ValueError, "waves must be on the device"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=f"joint_penalty: .*{message}"):
        operator(**arguments() | changes)
