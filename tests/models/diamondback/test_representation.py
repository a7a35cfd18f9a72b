"""The 539 numbers of a residue, against a plain NumPy account of the published rules."""

import numpy as np
import pytest
import torch

from backmap.chemistry import HEAVY_ATOMS, RESIDUE_INDEX, SLOT_C, SLOT_CA, SLOT_N, SLOT_O
from backmap.models.chain import Chain
from backmap.models.diamondback.layout import NEIGHBOURS, POINT_OFFSETS, POINT_SLOTS, SIZE, Pass
from backmap.models.diamondback.representation import (
    describe,
    generated_points,
    given_points,
    pass_kinds,
    point_exists,
    to_vector,
    visible_atoms,
)
from backmap.ops import canonical_placement

SEQUENCE = ("ALA", "SER", "GLY", "LEU", "VAL")
MEAN_PEPTIDE = np.array([[0.0, 0.0, 0.0], [0.1429, 0.0529, 0.0], [0.3805, 0.0, 0.0]])
ISOSCELES = 0.381 * np.array(
    [[-np.sin(np.radians(53)), 0, 0], [0, np.cos(np.radians(53)), 0], [np.sin(np.radians(53)), 0, 0]]
)


def make_chain(sequence=SEQUENCE, chains=None) -> Chain:
    types = torch.tensor([RESIDUE_INDEX[name] for name in sequence])
    chain_index = torch.tensor(chains or [0] * len(sequence))
    linked = torch.cat([chain_index[1:] == chain_index[:-1], torch.tensor([False])])
    return Chain(types, chain_index, linked)


def make_structure(sequence=SEQUENCE, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    """Atoms (residues, 15, 3) of a made-up trace and which there are."""
    generator = np.random.default_rng(seed)
    turn = np.arange(len(sequence)) * 1.7
    trace = np.stack([0.23 * np.cos(turn), 0.23 * np.sin(turn), 0.15 * np.arange(len(sequence))], axis=1)
    trace += generator.normal(0, 0.005, trace.shape)
    atoms = trace[:, None] + generator.normal(0, 0.12, (len(sequence), 15, 3))
    atoms[:, SLOT_CA] = trace
    present = np.zeros((len(sequence), 15), dtype=bool)
    for row, name in enumerate(sequence):
        present[row, : len(HEAVY_ATOMS[name])] = True
    return torch.from_numpy(atoms), torch.from_numpy(present)


def superpose(template: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (rows are the template's axes in space) and centre, by Kabsch's algorithm."""
    centre = points.mean(0)
    u, _, vt = np.linalg.svd((template - template.mean(0)).T @ (points - centre))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return u @ sign @ vt, centre


def expected_vector(atoms, present, sequence, linked, residue, scale):
    """The published representation of an interior residue with everything that is generated in place."""
    axes, origin = superpose(ISOSCELES, atoms[residue - 1 : residue + 2, SLOT_CA])

    def local(row, slot):
        return axes @ (atoms[row, slot] - origin) / scale if present[row, slot] else np.zeros(3)

    numbers = [local(residue - 1, slot) for slot in (SLOT_CA, SLOT_C, SLOT_O)]
    numbers += [local(residue, slot) for slot in range(14)]
    numbers += [local(residue + 1, slot) for slot in (SLOT_N, SLOT_CA)]
    last = len(sequence) - 1
    seen = {}
    for other in range(len(sequence)):
        if other == residue:
            continue
        if other >= residue:
            slots = [SLOT_CA]
        elif other == 0:  # the end's C and O come with the pass of the second residue
            slots = [SLOT_CA, SLOT_C, SLOT_O] if residue > 1 else [SLOT_CA]
        elif other == last:
            slots = [SLOT_CA, SLOT_N]
        else:
            slots = list(range(14))
        seen[other] = [slot for slot in slots if present[other, slot]]
    distance = {
        other: min(np.linalg.norm(atoms[residue, SLOT_CA] - atoms[other, slot]) for slot in slots)
        for other, slots in seen.items()
    }
    nearest = sorted(distance, key=lambda other: (distance[other], other))[:NEIGHBOURS]
    for place in range(NEIGHBOURS):
        for slot in (SLOT_CA, *range(4, 14)):
            known = place < len(nearest) and slot in seen[nearest[place]]
            numbers.append(local(nearest[place], slot) if known else np.zeros(3))
    one_hot = np.zeros(20)
    one_hot[RESIDUE_INDEX[sequence[residue]]] = 1
    return np.concatenate([*numbers, one_hot])


def test_five_residues_to_the_last_number():
    chain, (atoms, present) = make_chain(), make_structure()
    residue = torch.tensor([1, 2, 3])
    kind = torch.zeros(3, dtype=torch.int64)
    sites, _ = describe(atoms.expand(3, -1, -1, -1), present[None], chain, residue, kind, target=True)
    vector = to_vector(sites, (sites.points / 2.0).flatten(1), 2.0)
    assert vector.shape == (3, SIZE) == (3, 539)
    for row, number in zip(vector.numpy(), (1, 2, 3), strict=True):
        wanted = expected_vector(atoms.numpy(), present.numpy(), SEQUENCE, chain.linked, number, 2.0)
        np.testing.assert_allclose(row, wanted, atol=1e-12)


@pytest.mark.parametrize("residue, kind", [(0, Pass.FIRST), (4, Pass.LAST)])
def test_frames_of_ends_superpose_the_mean_peptide(residue, kind):
    chain, (atoms, present) = make_chain(), make_structure()
    start = residue if kind == Pass.FIRST else residue - 1
    peptide = torch.stack([atoms[start, SLOT_CA], atoms[start, SLOT_C], atoms[start + 1, SLOT_CA]])
    axes, origin = superpose(MEAN_PEPTIDE, peptide.numpy())
    _, frame = describe(
        atoms[None], present[None], chain, torch.tensor([residue]), torch.tensor([kind.value])
    )
    np.testing.assert_allclose(frame[0, :3], axes, atol=1e-9)
    np.testing.assert_allclose(frame[0, 3], origin, atol=1e-9)


def test_ends_are_built_from_what_their_neighbours_placed():
    chain, (atoms, present) = make_chain(), make_structure()
    residue, kind = torch.tensor([0, 4]), torch.tensor([Pass.FIRST.value, Pass.LAST.value])
    sites, _ = describe(atoms.expand(2, -1, -1, -1), present[None], chain, residue, kind)
    names = {
        (offset, slot): point
        for point, (offset, slot) in enumerate(zip(POINT_OFFSETS, POINT_SLOTS, strict=True))
    }
    first, last = sites.known & ~sites.generated
    assert {key for key, point in names.items() if first[point]} == {
        (0, SLOT_CA), (0, SLOT_C), (0, SLOT_O), (1, SLOT_N), (1, SLOT_CA)
    }  # fmt: skip
    assert {key for key, point in names.items() if last[point]} == {
        (-1, SLOT_CA), (-1, SLOT_C), (-1, SLOT_O), (0, SLOT_N), (0, SLOT_CA)
    }  # fmt: skip


def test_side_chains_of_ends_are_not_seen_while_the_interior_is_built():
    chain = make_chain(SEQUENCE * 2, [0] * 5 + [1] * 5)
    assert pass_kinds(chain).tolist() == [1, 0, 0, 0, 2] * 2
    seen = visible_atoms(chain, torch.tensor([7]), torch.tensor([Pass.INTERIOR.value]))[0]
    assert seen[[0, 4, 5], 4:].sum() == 0
    assert seen[0].nonzero().flatten().tolist() == [SLOT_CA, SLOT_C, SLOT_O]
    assert seen[4].nonzero().flatten().tolist() == [SLOT_N, SLOT_CA]
    assert seen[6].sum() == len(HEAVY_ATOMS["SER"])
    assert seen[7:].sum(1).tolist() == [1, 1, 1]
    at_the_end = visible_atoms(chain, torch.tensor([9]), torch.tensor([Pass.LAST.value]))[0]
    assert at_the_end[8].sum() == len(HEAVY_ATOMS["LEU"])


def test_placed_back_the_truth_is_the_structure():
    chain, (atoms, present) = make_chain(), make_structure()
    residue = torch.arange(5)
    sites, frame = describe(
        atoms.float().expand(5, -1, -1, -1), present[None], chain, residue, pass_kinds(chain), target=True
    )
    placed = canonical_placement(frame.contiguous(), sites.points)
    for row in range(5):
        for point, (offset, slot) in enumerate(zip(POINT_OFFSETS, POINT_SLOTS, strict=True)):
            if sites.known[row, point]:
                torch.testing.assert_close(
                    placed[row, point].double(), atoms[row + offset, slot], atol=1e-5, rtol=0
                )


def test_rotation_and_translation_change_nothing():
    chain, (atoms, present) = make_chain(), make_structure()
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    turn = turn * torch.sign(torch.linalg.det(turn))
    moved = atoms @ turn.T + torch.tensor([3.0, -2.0, 5.0])
    residue, kind = torch.arange(5), pass_kinds(chain)
    here, there = (
        describe(part.expand(5, -1, -1, -1), present[None], chain, residue, kind, target=True)[0]
        for part in (atoms, moved)
    )
    torch.testing.assert_close(here.points, there.points, atol=1e-9, rtol=0)
    torch.testing.assert_close(here.environment, there.environment, atol=1e-9, rtol=0)


def test_missing_atoms_are_masks_and_never_read():
    chain, (atoms, present) = make_chain(), make_structure()
    present[1, 5] = False  # OG of the serine
    atoms[1, 5] = torch.nan
    residue, kind = torch.tensor([1, 3]), torch.zeros(2, dtype=torch.int64)
    sites, _ = describe(atoms.expand(2, -1, -1, -1), present[None], chain, residue, kind, target=True)
    assert not sites.known[0, 3 + 5] and sites.generated[0, 3 + 5]
    assert sites.points.isfinite().all() and sites.environment.isfinite().all()
    assert not sites.environment_known[1].all(-1).any()


def test_given_points_hold_nothing_generated():
    chain, (atoms, present) = make_chain(), make_structure()
    residue, kind = torch.arange(5), pass_kinds(chain)
    sites, _ = describe(atoms.expand(5, -1, -1, -1), present[None], chain, residue, kind, target=True)
    given = given_points(sites, 1.0).unflatten(1, (19, 3))
    assert given[sites.generated].abs().sum() == 0
    assert (given[~sites.generated & sites.known] != 0).any(-1).all()


def test_interior_passes_generate_all_but_c_alphas():
    generated = generated_points(torch.device("cpu"))[Pass.INTERIOR]
    kept = [point for point, slot in enumerate(POINT_SLOTS) if slot == SLOT_CA]
    assert (~generated).nonzero().flatten().tolist() == kept
    assert 3 * int(generated.sum()) == 48
    assert point_exists(torch.tensor([RESIDUE_INDEX["GLY"]])).sum() == 5 + 4


def test_segments_of_fewer_than_three_residues_have_no_pass():
    chain = make_chain(SEQUENCE, [0, 0, 1, 2, 2])
    assert pass_kinds(chain).tolist() == [-1] * 5
