import math

import pytest
import torch

from backmap.chemistry import RESIDUE_INDEX
from backmap.models.protein.side_chains import CBetaGeometry, SideChainGeometry
from backmap.ops import place_side_chains, reference

from .operators import side_chains, side_chains_with_known_atoms

operator = torch.ops.backmap.place_side_chains.default
SIZES = {"candidates": 5, "torsions": 3, "placed_atoms": 8}


def arguments(make=side_chains, batch=(40,), dtype=torch.float64, **sizes) -> dict:
    return make(batch, dtype, **(SIZES | sizes))


def proteins(dtype: torch.dtype, kinds: torch.Tensor) -> list:
    """Residues of the given types on crooked backbones, with the tables of the protein model."""
    tables = SideChainGeometry().to(dtype)
    flat = [[-0.05, 0.136, 0.0], [0.0, 0.0, 0.0], [0.153, 0.0, 0.0], [0.21, 0.05, 0.09]]
    backbone = torch.tensor(flat, dtype=dtype) + 0.002 * torch.randn(len(kinds), 4, 3, dtype=dtype)
    return [
        backbone,
        CBetaGeometry().to(dtype)(backbone, kinds),
        kinds,
        math.pi * (2 * torch.rand(len(kinds), 20, 4, dtype=dtype) - 1),
        tables.rules,
        tables.parents,
        tables.torsion_indices,
        tables.geometry,
        tables.ring,
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_amino_acids_match_the_reference(dtype):
    args = proteins(dtype, torch.arange(20).repeat(3))
    torch.testing.assert_close(operator(*args), reference.place_side_chains(*args), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [side_chains, side_chains_with_known_atoms])
@pytest.mark.parametrize(
    "sizes", [{}, {"candidates": 35}, {"torsions": 1}, {"batch": ()}, {"batch": (2, 3)}], ids=str
)
def test_matches_reference(make, sizes):
    args = arguments(make, **sizes)
    torch.testing.assert_close(operator(**args), reference.place_side_chains(**args), equal_nan=True)


def test_bonds_angles_and_torsions_are_as_given():
    """Lysine: each atom hangs on the one before it."""
    args = proteins(torch.float64, torch.tensor([RESIDUE_INDEX["LYS"]]))
    atoms = operator(*args)[0]
    geometry, torsions = args[7][RESIDUE_INDEX["LYS"]], args[3][0]
    known = [args[0][0, 0].expand(20, 3), args[0][0, 1].expand(20, 3), *atoms[:, :5].unbind(1)]
    for number in range(4):
        a, b, c, d = known[number : number + 4]
        length, angle, offset = geometry[1 + number]
        torch.testing.assert_close((d - c).norm(dim=-1), length.expand(20))
        cosine = torch.nn.functional.cosine_similarity(b - c, d - c, dim=-1)
        torch.testing.assert_close(torch.acos(cosine), angle.expand(20))
        before, after = torch.linalg.cross(b - a, c - b), torch.linalg.cross(c - b, d - c)
        sine = (torch.linalg.cross(before, after) * (c - b)).sum(-1) / (c - b).norm(dim=-1)
        found = torch.atan2(sine, (before * after).sum(-1))
        torch.testing.assert_close(torch.cos(found - offset - torsions[:, number]), torch.ones(20).double())


def test_the_ring_of_proline_closes():
    args = proteins(torch.float64, torch.full((30,), RESIDUE_INDEX["PRO"]))
    beta, gamma, delta = operator(*args)[:, :, :3].unbind(2)
    n, ring = args[0][:, None, 0], args[8]
    torch.testing.assert_close((gamma - beta).norm(dim=-1), ring[0].expand(30, 20))
    torch.testing.assert_close((delta - n).norm(dim=-1), ring[2].expand(30, 20))
    assert ((delta - gamma).norm(dim=-1) - ring[1]).abs().max() < 0.015  # the backbone is crooked


def test_a_site_and_a_candidate_give_the_same_in_every_batch():
    args = arguments(batch=(300,), candidates=20, dtype=torch.float32)
    together = operator(**args)
    for site in (0, 150, 299):
        own = {name: args[name][site : site + 1] for name in ("backbone", "c_beta", "types", "torsions")}
        assert torch.equal(operator(**(args | own))[0], together[site])
        own["torsions"] = own["torsions"][:, 17:18]
        assert torch.equal(operator(**(args | own))[0, 0], together[site, 17])


def test_known_atoms_stay_and_move_those_that_follow():
    args = arguments(side_chains_with_known_atoms)
    placed = operator(**args)
    kept = args["known_present"].unsqueeze(1).expand(placed.shape[:-1])
    assert torch.equal(placed[kept], args["known"].unsqueeze(1).expand_as(placed)[kept])
    free = operator(**{name: value for name, value in args.items() if not name.startswith("known")})
    assert not torch.equal(placed[~kept], free[~kept])


def test_gradcheck():
    """There is no gradient, and asking for one is an error."""
    args = arguments()
    args["torsions"].requires_grad_()
    with pytest.raises(RuntimeError, match="place_side_chains"):
        operator(**args).sum().backward()


def test_opcheck():
    torch.library.opcheck(operator, (), arguments(side_chains_with_known_atoms, batch=(3,)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    args = proteins(dtype, torch.arange(20).repeat(30))
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    torch.testing.assert_close(operator(*to_device(args, cuda)).cpu(), operator(*args), **near)


def test_empty_and_single():
    assert operator(**arguments(batch=(0,))).shape == (0, 5, 8, 3)
    assert operator(**arguments(candidates=0)).shape == (40, 0, 8, 3)
    assert operator(**arguments(placed_atoms=0)).shape == (40, 5, 0, 3)
    assert operator(**arguments(torsions=0, candidates=1)).shape == (40, 1, 8, 3)


def test_non_contiguous(scattered):
    args = arguments(side_chains_with_known_atoms)
    assert torch.equal(operator(**{n: scattered(value) for n, value in args.items()}), operator(**args))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"backbone": torch.zeros(40, 4, 3).half()}, TypeError, "backbone must have dtype"),
        ({"backbone": torch.zeros(40, 5, 3).double()}, ValueError, "backbone must have shape"),
        ({"types": torch.zeros(40)}, TypeError, "types must have dtype"),
        ({"types": torch.full((40,), 5)}, ValueError, r"types must lie in \[0, 5\), got 5"),
        ({"rules": torch.full((5, 8), 5)}, ValueError, r"rules must lie in \[0, 5\), got 5"),
        ({"rules": torch.full((5, 8), 4)}, ValueError, "must not close a ring"),
        ({"parents": torch.full((5, 8, 3), 4)}, ValueError, r"parents of atom 0 must lie in \[0, 4\)"),
        ({"parents": torch.zeros(5, 8, 2).long()}, ValueError, "parents must have shape"),
        ({"torsion_indices": torch.full((5, 8), 4)}, ValueError, r"torsion_indices must lie in \[0, 4\)"),
        ({"geometry": torch.zeros(5, 8, 2).double()}, ValueError, "geometry must have shape"),
        ({"ring": torch.zeros(6).double()}, ValueError, "ring must have shape"),
        ({"known": torch.zeros(40, 8, 3).double()}, ValueError, "known and known_present must be given"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=f"place_side_chains: .*{message}"):
        operator(**(arguments() | changes))


def test_torchscript():
    @torch.jit.script
    def place(
        backbone: torch.Tensor,
        c_beta: torch.Tensor,
        types: torch.Tensor,
        torsions: torch.Tensor,
        rules: torch.Tensor,
        parents: torch.Tensor,
        torsion_indices: torch.Tensor,
        geometry: torch.Tensor,
        ring: torch.Tensor,
    ) -> torch.Tensor:
        return torch.ops.backmap.place_side_chains(
            backbone, c_beta, types, torsions, rules, parents, torsion_indices, geometry, ring
        )

    args = arguments()
    assert torch.equal(place(*args.values()), place_side_chains(**args))
