from __future__ import annotations

import numpy as np
import pytest

from backmap.chemistry import LinearMapping, Molecule
from backmap.chemistry.bead_graph import BeadGraph
from tests.models.temporal.dipeptide import dipeptide


def chain(n: int, elements: str | None = None, bonds=None) -> Molecule:
    """A chain of carbons, bonded one to the next unless bonds are given."""
    symbols = tuple(elements or "C" * n)
    bonds = tuple((i, i + 1) for i in range(n - 1)) if bonds is None else bonds
    return Molecule(tuple(f"C{i}" for i in range(n)), symbols, ("MOL",) * n, (1,) * n, bonds)


def test_alanine_dipeptide():
    molecule, mapping, _ = dipeptide()
    graph = BeadGraph.of(molecule, mapping)
    assert graph.bonds == ((0, 1), (1, 2), (2, 3), (2, 4), (4, 5))
    assert graph.angles == ((0, 1, 2), (1, 2, 3), (1, 2, 4), (3, 2, 4), (2, 4, 5))
    assert graph.torsions == ((0, 1, 2, 3), (0, 1, 2, 4), (1, 2, 4, 5), (3, 2, 4, 5))
    assert graph.centres == ((2, 1, 3, 4),)
    assert graph.masses.sum() == pytest.approx(144.17, abs=0.02)
    assert graph.masses[0] == pytest.approx(43.045, abs=0.01)  # CH3, C and O of the acetyl group


def test_every_third_atom_is_a_bead():
    molecule = chain(9)
    graph = BeadGraph.of(molecule, LinearMapping.from_atoms([1, 4, 7], molecule))
    assert graph.bonds == ((0, 1), (1, 2))
    assert np.allclose(graph.masses, 3 * 12.011)
    assert graph.pairs_beyond(1).tolist() == [[0, 2]]
    assert graph.pairs_beyond(2).tolist() == []


def test_beads_that_are_means_are_bonded_where_their_atoms_are():
    molecule = chain(4)
    weights = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    assert BeadGraph.of(molecule, LinearMapping(weights, ("A", "B"))).bonds == ((0, 1),)


def test_a_ring_has_no_torsion_of_three_beads():
    molecule = chain(3, bonds=((0, 1), (1, 2), (0, 2)))
    graph = BeadGraph.of(molecule, LinearMapping.from_atoms([0, 1, 2], molecule))
    assert graph.torsions == () and len(graph.angles) == 3


@pytest.mark.parametrize(
    ("molecule", "beads", "message"),
    [
        (chain(3, bonds=((0, 1),)), [0], "atom C2 is connected to no bead"),
        (chain(2, "CX"), [0], "the mass of element X is not known"),
        (chain(3), [1, 1], "bead C1 has no atom that is not nearer to another bead"),
    ],
)
def test_bad_input(molecule, beads, message):
    with pytest.raises(ValueError, match=message):
        BeadGraph.of(molecule, LinearMapping.from_atoms(beads, molecule))
