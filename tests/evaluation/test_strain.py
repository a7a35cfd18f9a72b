"""Strain energies of residues."""

import numpy as np
import pytest

from backmap.errors import InputWarning
from backmap.evaluation import score

from .peptide import build

pytest.importorskip("openmm")


def peptide():
    """A short peptide with the oxygen at its end, and the atoms that it has."""
    topology, atoms = build("AVSA")
    n, c_alpha, c, o = atoms[-1, :4]
    atoms[-1, 14] = 2 * c - o + 0.6 * (c - c_alpha)
    length = np.linalg.norm(atoms[-1, 14] - c)
    atoms[-1, 14] = c + (atoms[-1, 14] - c) * 0.125 / length
    return topology, atoms, np.isfinite(atoms[..., 0])


def test_minimisation_lowers_the_energy_of_residues():
    topology, atoms, present = peptide()
    card = score(topology, None, atoms[None, None], sample_present=present, energies=True)
    values = [card.measures[f"strain_{n}"]["all"].value for n in (0, 50, 200)]
    assert values[0] > values[1] >= values[2]
    each = [entry["sample"]["strain_0"] for entry in card.residues]
    assert np.mean(each) == pytest.approx(values[0])
    by_type = {entry["residue"]: entry["all"]["strain_0"] for entry in card.by_residue_type}
    assert by_type["ALA"]["count"] == 2
    assert by_type["ALA"]["value"] == pytest.approx((each[0] + each[3]) / 2, rel=1e-4)
    assert by_type["SER"]["value"] == pytest.approx(each[2], rel=1e-4)


def test_a_distorted_residue_is_the_strained_one():
    topology, atoms, present = peptide()
    bent = atoms.copy()
    bent[2, 5] += 0.03  # OG of the serine
    calm, strained = (
        score(topology, None, each[None, None], sample_present=present, energies=True).residues
        for each in (atoms, bent)
    )
    rise = [
        new["sample"]["strain_0"] - old["sample"]["strain_0"] for new, old in zip(strained, calm, strict=True)
    ]
    assert np.argmax(rise) == 2 and rise[2] > 50


def test_missing_atoms_leave_out_the_strain_with_a_reason():
    topology, atoms, present = peptide()
    present[1, 5] = False
    with pytest.warns(InputWarning, match="residue 2 VAL lacks heavy atoms, or OXT"):
        card = score(topology, None, atoms[None, None], sample_present=present, energies=True)
    assert "strain_0" not in card.measures
