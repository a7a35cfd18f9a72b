"""Nucleic acids from files to files."""

import gzip

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.chemistry.nucleic_mapping import shipped_nucleic_mappings
from backmap.cli.main import main
from tests.beaded import EXAMPLE
from tests.nucleic import DNA, RNA


@pytest.fixture
def beads(tmp_path):
    """Makes beads of a duplex."""

    def make(path, mapping="3spn2"):
        output = tmp_path / f"{path.stem}.{mapping}.pdb"
        assert main(["coarse-grain", str(path), "--nucleic-beads", mapping, "-o", str(output)]) == 0
        return output

    return make


RECOGNISED = [(name, DNA) for name in shipped_nucleic_mappings() if name != "nucleotide-centre"] + [
    ("3spn2", RNA)
]


@pytest.mark.parametrize(("mapping", "path"), RECOGNISED)
def test_beads_are_recognised_and_built(mapping, path, beads, tmp_path):
    output = tmp_path / "atoms.pdb"
    assert main(["reconstruct", str(beads(path, mapping)), "-o", str(output)]) == 0
    built, reference = mdtraj.load(str(output)).topology, mdtraj.load(str(path)).topology
    residues = list(reference.residues)
    if mapping == "nucleotide-p":  # the 5' ends have no bead, and are not built
        residues = [residue for residue in residues if residue.index not in (0, 6)]
    assert [residue.name for residue in built.residues] == [residue.name for residue in residues]
    if mapping != "nucleotide-p":
        assert {str(atom) for atom in built.atoms} == {str(atom) for atom in reference.atoms}


def test_with_hydrogens_they_are_residues_of_amber(beads, tmp_path):
    app = pytest.importorskip("openmm.app")
    for path in (DNA, RNA):
        output = tmp_path / "atoms.pdb"
        arguments = ["reconstruct", str(beads(path)), "-o", str(output), "--hydrogens", "--overwrite"]
        assert main(arguments) == 0
        file = app.PDBFile(str(output))
        field = app.ForceField("amber14/DNA.OL15.xml", "amber14/RNA.OL3.xml")
        assert field.createSystem(file.topology).getNumParticles() == file.topology.getNumAtoms()


def test_beside_a_protein_they_are_built_and_avoided(beads, tmp_path, capsys):
    protein = [line for line in lines_of(EXAMPLE) if line.startswith("ATOM") and line[12:16] == " CA "]
    nucleic = [line for line in beads(DNA).read_text().splitlines(True) if line.startswith("ATOM")]
    nucleic = [line[:21] + chr(ord(line[21]) + 10) + line[22:] for line in nucleic]
    both, output = tmp_path / "both.pdb", tmp_path / "atoms.pdb"
    both.write_text("".join(protein + nucleic))
    assert main(["reconstruct", str(both), "-o", str(output), "--samples", "2", "--one-file"]) == 0
    built = mdtraj.load(str(output))
    names = [residue.name for residue in built.topology.residues]
    assert len(built) == 2 and names[-12:] == [r.name for r in mdtraj.load(str(DNA)).topology.residues]
    assert main(["reconstruct", str(both), "-o", str(output), "--nucleic-beads", "keep", "--overwrite"]) == 0
    assert "carried nucleic acids along" in capsys.readouterr().err
    assert mdtraj.load(str(output)).topology.atom(-1).name == "B"


def lines_of(path):
    return gzip.decompress(path.read_bytes()).decode().splitlines(True)


def test_in_memory_and_in_a_box_they_are_the_same(beads):
    given = mdtraj.load(str(beads(DNA)))
    given = mdtraj.join([given] * 3)
    free = backmap.reconstruct(given, seed=2)
    given.unitcell_vectors = np.repeat(6 * np.eye(3)[None], 3, axis=0)
    inside = backmap.reconstruct(given, seed=2)
    np.testing.assert_allclose(free.xyz, inside.xyz, atol=0.1)
    wrapped = mdtraj.Trajectory(
        given.xyz % 6,
        given.topology,
        unitcell_lengths=np.full((3, 3), 6.0),
        unitcell_angles=np.full((3, 3), 90.0),
    )
    apart = backmap.reconstruct(wrapped, seed=2).xyz - inside.xyz
    np.testing.assert_allclose(apart - 6 * np.round(apart / 6), 0, atol=0.1)


def test_bad_input_is_refused(beads, tmp_path, capsys):
    path = beads(DNA)
    output = ["-o", str(tmp_path / "atoms.pdb")]
    assert main(["reconstruct", str(path), "--nucleic-beads", "nowhere", *output]) == 2
    assert "neither a mapping of nucleic acids" in capsys.readouterr().err
    text = path.read_text().splitlines(True)
    far = [
        line[:30] + f"{10 * float(line[30:38]):8.2f}" + line[38:] if line[:4] == "ATOM" else line
        for line in text
    ]
    path.write_text("".join(far))
    assert main(["reconstruct", str(path), *output]) == 2
    assert "too far apart" in capsys.readouterr().err
    assert (
        main(["coarse-grain", str(EXAMPLE), "--nucleic-beads", "3spn2", "-o", str(tmp_path / "beads.pdb")])
        == 2
    )
    assert "contains no nucleotides" in capsys.readouterr().err
    assert not (tmp_path / "atoms.pdb").exists()
