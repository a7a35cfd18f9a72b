"""Names for programs, and that the programs take atoms with them as they are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from backmap.io import AtomList
from backmap.io.formats.structure_records import pdb_templates
from backmap.postprocessing import Hydrogens
from backmap.postprocessing.program_names import PROGRAMS, named_for

Protein = tuple[AtomList, np.ndarray]


@pytest.fixture(scope="module")
def whole(protein) -> Protein:
    """All twenty amino acids with hydrogens, in one frame."""
    atoms, frames = protein
    hydrogens = Hydrogens(atoms, frames[0])
    return hydrogens.atoms, hydrogens.apply(frames[:1])[0]


def write(path: Path, atoms: AtomList, frame: np.ndarray) -> Path:
    (piece,) = pdb_templates(atoms)
    path.write_text(piece.text % tuple((10 * frame).ravel()) + "END\n")
    return path


def residue_names(atoms: AtomList) -> set[str]:
    return {residue.name for residue in atoms.residues}


@pytest.mark.parametrize("force_field", ["amber14-all.xml", "amber19-all.xml", "charmm36.xml"])
@pytest.mark.parametrize("program", ["openmm", "amber"])
def test_openmm_takes_the_atoms_as_they_are(whole, tmp_path, program, force_field):
    from openmm import app

    atoms, frame = whole
    structure = app.PDBFile(str(write(tmp_path / "out.pdb", named_for(atoms, program), frame)))
    system = app.ForceField(force_field).createSystem(structure.topology)
    assert system.getNumParticles() == atoms.n_atoms


@pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not installed")
@pytest.mark.parametrize(
    "program, force_field, ph",
    [
        *(("gromacs", "amber99sb-ildn", ph) for ph in (2.0, 7.0, 11.0)),
        *(("gromacs-charmm", "charmm27", ph) for ph in (2.0, 7.0)),  # it has no deprotonated cysteine
    ],
)
def test_gromacs_takes_the_atoms_as_they_are(protein, tmp_path, program, force_field, ph):
    atoms, frames = protein
    hydrogens = Hydrogens(atoms, frames[0], ph=ph)
    atoms, frame = hydrogens.atoms, hydrogens.apply(frames[:1])[0]
    write(tmp_path / "out.pdb", named_for(atoms, program), frame)
    asked = ["gmx", "pdb2gmx", "-f", "out.pdb", "-ff", force_field, "-water", "none"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int((tmp_path / "conf.gro").read_text().splitlines()[1]) == atoms.n_atoms


def test_nothing_but_names_changes(whole):
    atoms, _ = whole
    assert named_for(atoms, "openmm") is atoms
    for program in PROGRAMS[1:]:
        renamed = named_for(atoms, program)
        assert renamed.bonds == atoms.bonds and renamed.n_atoms == atoms.n_atoms
        for old, new in zip(atoms.residues, renamed.residues, strict=True):
            assert len(set(new.atom_names)) == len(old.atom_names) and new.elements == old.elements


def test_charmm_names_the_hydrogens_of_hydroxyl_and_thiol(whole):
    atoms, _ = whole
    for program, hydrogen in (("gromacs", "HG"), ("gromacs-charmm", "HG1")):
        named = {residue.name: residue.atom_names for residue in named_for(atoms, program).residues}
        assert hydrogen in named["SER"] and hydrogen in named["CYS"] and "HG1" in named["THR"]
        assert "HG" in named["LEU"]


def test_states_have_names(protein, disulfide):
    atoms, frames = protein
    low = Hydrogens(atoms, frames[0], ph=2.0).atoms
    assert residue_names(named_for(low, "amber")) >= {"HIP", "ASH", "GLH", "LYS", "CYS"}
    assert residue_names(named_for(low, "gromacs")) >= {"HISH", "ASH", "GLH", "LYS", "CYS"}
    assert residue_names(named_for(low, "gromacs-charmm")) >= {"HISH", "ASPP", "GLUP", "LYS", "CYS"}
    high = Hydrogens(atoms, frames[0], ph=11.0).atoms
    assert residue_names(named_for(high, "amber")) >= {"LYN", "ASP", "GLU", "CYM"}
    assert residue_names(named_for(high, "gromacs")) >= {"LYN", "ASP", "GLU", "CYM"}
    assert residue_names(named_for(high, "gromacs-charmm")) >= {"LSN", "ASP", "GLU", "CYS"}
    assert residue_names(named_for(high, "amber")) & {"HID", "HIE"}
    bridged = Hydrogens(disulfide[0], disulfide[1][0]).atoms
    assert residue_names(named_for(bridged, "amber")) == {"GLY", "CYX"}
    assert residue_names(named_for(bridged, "gromacs")) == {"GLY", "CYS"}
