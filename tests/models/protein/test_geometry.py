import math

import pytest
import torch

from backmap.chemistry import CHI_MASK, HEAVY_ATOMS, RESIDUE_NAMES, SLOT_CB
from backmap.chemistry.ideal_geometry import ideal_geometry
from backmap.chemistry.residues import BONDS, CHI_SYMMETRIC
from backmap.models.protein.geometry import PeptideTemplate, place_atom, torsion_angle
from backmap.models.protein.side_chains import CBetaGeometry, SideChainGeometry, measure_chi


@pytest.fixture
def backbone():
    """N, CA, C, O of one residue of ideal geometry."""
    n, ca = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([0.1459, 0.0, 0.0])
    c = ca + 0.1525 * torch.tensor([-math.cos(1.94), math.sin(1.94), 0.0])
    o = place_atom(n, ca, c, *torch.tensor([0.123, 2.10, 2.4]))
    return torch.stack([n, ca, c, o])


def test_place_atom_has_the_length_angle_and_torsion_asked_for():
    torch.manual_seed(0)
    a, b, c = torch.randn(3, 50, 3, dtype=torch.float64).unbind(0)
    torsion = torch.linspace(-3.1, 3.1, 50, dtype=torch.float64)
    d = place_atom(a, b, c, torch.tensor(0.15), torch.tensor(1.9), torsion)
    assert torch.allclose((d - c).norm(dim=-1), torch.full_like(torsion, 0.15))
    cosine = torch.nn.functional.cosine_similarity(b - c, d - c, dim=-1)
    assert torch.allclose(torch.acos(cosine), torch.full_like(torsion, 1.9))
    assert torch.allclose(torsion_angle(a, b, c, d), torsion)


@pytest.mark.parametrize("distance", [0.26, 0.29, 0.30, 0.345, 0.36, 0.38, 0.40, 0.42])
def test_peptide_bonds_keep_their_length_at_any_c_alpha_distance(distance):
    c, o, n = PeptideTemplate()(torch.tensor(distance)).unbind(0)
    n = n + torch.tensor([distance, 0.0])
    ideal = ideal_geometry()["peptide"]["cis" if distance < 0.34 else "trans"]
    lengths = [c.norm(), (n - c).norm(), (n - torch.tensor([distance, 0.0])).norm(), (o - c).norm()]
    for length, name in zip(lengths, ("CA-C", "C-N", "N-CA", "C-O"), strict=True):
        assert float(length) == pytest.approx(ideal[name], abs=3e-4)
    # Planar with O on the positive side; N on the other side if trans, on the same if cis.
    assert o[1] > 0 and (n[1] > 0) == (distance < 0.34)


@pytest.mark.parametrize(("shortest", "longest"), [(0.25, 0.3399), (0.3401, 0.43)])
def test_peptides_do_not_jump_as_the_distance_changes(shortest, longest):
    """Half-way between entries of the table, rounding of the C-alphas would be amplified a hundred times."""
    distance = torch.linspace(shortest, longest, 100_000, dtype=torch.float64)
    steps = PeptideTemplate()(distance).diff(dim=0).abs().amax()
    assert steps < 4 * float(distance[1] - distance[0])


@pytest.mark.parametrize("name", [name for name in RESIDUE_NAMES if name != "GLY"])
def test_side_chains_have_ideal_bonds_and_the_torsions_asked_for(backbone, name):
    kind = torch.tensor([RESIDUE_NAMES.index(name)])
    torsions = (torch.rand(1, 16, 4, generator=torch.Generator().manual_seed(1)) - 0.5) * 2 * math.pi
    if name == "PRO":
        torsions = torch.linspace(-0.68, 0.68, 16).view(1, 16, 1).expand(-1, -1, 4)
    beta = CBetaGeometry()(backbone[None], kind)
    side = SideChainGeometry()(backbone[None], beta, kind, torsions)[0]
    atoms = torch.zeros(16, 15, 3)
    atoms[:, :4], atoms[:, SLOT_CB:14] = backbone, side
    slot = {atom: index for index, atom in enumerate(HEAVY_ATOMS[name])}
    tolerance = 0.05 if name == "PRO" else 0.03  # rings of five close within this
    for bond, ideal in ideal_geometry()["residues"][name]["bonds"].items():
        first, second = (slot[atom] for atom in bond.split("-"))
        if first >= SLOT_CB or second >= SLOT_CB:
            length = (atoms[:, first] - atoms[:, second]).norm(dim=-1)
            assert torch.allclose(length, torch.tensor(ideal), rtol=tolerance), bond
    chi, exists = measure_chi(atoms, torch.ones(16, 15, dtype=torch.bool), kind.expand(16))
    assert exists.sum(dim=1).unique().tolist() == [CHI_MASK[kind.item()].sum()]
    for index in range(1 if name == "PRO" else int(CHI_MASK[kind.item()].sum())):
        period = math.pi if CHI_SYMMETRIC[kind.item(), index] else 2 * math.pi
        error = torch.remainder(chi[:, index] - torsions[0, :, index] + period / 2, period) - period / 2
        assert error.abs().max() < 1e-3


def test_atoms_without_a_bond_stay_apart(backbone):
    """Within a side chain nothing but bonded atoms comes closer than a 1-3 distance."""
    for name in RESIDUE_NAMES:
        kind = torch.tensor([RESIDUE_NAMES.index(name)])
        if name == "GLY":
            continue
        beta = CBetaGeometry()(backbone[None], kind)
        side = SideChainGeometry()(backbone[None], beta, kind, torch.full((1, 1, 4), 0.5))[0, 0]
        names = HEAVY_ATOMS[name][SLOT_CB:]
        bonded = {frozenset(bond) for bond in BONDS[name]}
        for i, first in enumerate(names):
            for j in range(i):
                if frozenset((first, names[j])) not in bonded:
                    assert (side[i] - side[j]).norm() > 0.19, (name, first, names[j])


def test_c_beta_is_l(backbone):
    beta = CBetaGeometry()(backbone[None], torch.tensor([0]))[0]
    n, ca, c, _ = backbone
    volume = torch.dot(torch.linalg.cross(n - ca, c - ca), beta - ca)
    assert volume > 0
