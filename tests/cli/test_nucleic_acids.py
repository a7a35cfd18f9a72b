"""Nucleic acids from files to files."""

import gzip
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.chemistry.nucleic_mapping import shipped_nucleic_mappings
from backmap.cli.main import main
from backmap.io import open_source, reader
from tests.beaded import EXAMPLE
from tests.nucleic import DNA, RNA


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def atom_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(True) if line.startswith("ATOM")]


def renamed(lines: list[str]) -> list[str]:
    """Give the chains of nucleic acids other names than those of the protein."""
    return [line[:21] + chr(ord(line[21]) + 10) + line[22:] for line in lines]


def protein_lines(n_residues: int) -> list[str]:
    text = gzip.decompress(EXAMPLE.read_bytes()).decode()
    lines = [line for line in text.splitlines(True) if line.startswith("ATOM")]
    names = list(dict.fromkeys(line[21:27] for line in lines))[:n_residues]
    return [line for line in lines if line[21:27] in names]


@pytest.fixture
def beads(tmp_path):
    """Makes beads of a duplex."""

    def make(path, mapping="3spn2"):
        output = tmp_path / f"{path.stem}.{mapping}.pdb"
        assert run("coarse-grain", path, "--nucleic-beads", mapping, "-o", output) == 0
        return output

    return make


@pytest.fixture
def written(tmp_path):
    """Writes lines of atoms."""

    def write(lines, name="given.pdb"):
        (tmp_path / name).write_text("".join(lines))
        return tmp_path / name

    return write


@pytest.fixture
def dimers(beads, tmp_path):
    """Two nucleotides in eight frames that differ a little."""
    given = mdtraj.load(str(beads(DNA))).atom_slice(range(2, 8))
    frames = mdtraj.join([given] * 8)
    frames.xyz += np.random.default_rng(0).normal(0, 0.005, frames.xyz.shape)
    frames.time = np.arange(8.0)
    frames[0].save(str(tmp_path / "top.pdb"))
    return frames


@pytest.mark.parametrize("mapping", shipped_nucleic_mappings())
def test_beads_are_recognised(mapping, beads):
    asked = mapping if mapping == "nucleotide-centre" else "auto"
    found = open_source(beads(DNA, mapping), others="nucleic-acids", nucleic_beads=asked).nucleic
    assert found.mapping.name == mapping
    # 5' ends have no P
    assert found.topology.n_nucleotides == (10 if mapping == "nucleotide-p" else 12)


def test_both_kinds_get_all_their_atoms_and_hydrogens(beads, written, tmp_path):
    app = pytest.importorskip("openmm.app")
    given = written(atom_lines(beads(DNA)) + renamed(atom_lines(beads(RNA))))
    assert run("reconstruct", given, "-o", tmp_path / "atoms.pdb", "--hydrogens") == 0
    file = app.PDBFile(str(tmp_path / "atoms.pdb"))
    field = app.ForceField("amber14/DNA.OL15.xml", "amber14/RNA.OL3.xml")
    assert field.createSystem(file.topology).getNumParticles() == file.topology.getNumAtoms()
    built = mdtraj.load(str(tmp_path / "atoms.pdb")).topology
    heavy = [str(atom) for atom in built.atoms if atom.element.symbol != "H"]
    expected = [str(atom) for path in (DNA, RNA) for atom in mdtraj.load(str(path)).topology.atoms]
    assert sorted(heavy) == sorted(expected)


def test_beside_a_protein_they_are_built_and_avoided(written, tmp_path, capsys):
    atoms = written(protein_lines(8) + renamed(atom_lines(DNA)))
    both, output = tmp_path / "both.pdb", tmp_path / "atoms.pdb"
    mappings = ["--beads", "c-alpha", "--nucleic-beads", "3spn2"]
    assert run("coarse-grain", atoms, *mappings, "-o", both) == 0
    message = capsys.readouterr().err
    assert "coarse-grained 1 frame to c-alpha and 3spn2" in message and "warning" not in message
    assert run("reconstruct", both, "-o", output, "--samples", 2, "--one-file") == 0
    built = mdtraj.load(str(output))
    names = [residue.name for residue in built.topology.residues]
    assert len(built) == 2 and names == [r.name for r in mdtraj.load(str(atoms)).topology.residues]
    assert run("reconstruct", both, "-o", output, "--nucleic-beads", "keep", "--overwrite") == 0
    assert "carried nucleic acids along" in capsys.readouterr().err
    assert mdtraj.load(str(output)).topology.atom(-1).name == "B"


def test_in_a_box_they_are_the_same(beads, tmp_path):
    """Atoms and beads, however they are wrapped, and with any origin."""
    atoms = mdtraj.load(str(DNA))
    side = 5.0
    atoms.unitcell_lengths, atoms.unitcell_angles = np.full((1, 3), side), np.full((1, 3), 90.0)
    atoms.xyz = (atoms.xyz + [0.1, -0.3, 0.2]) % side
    atoms.save(str(tmp_path / "wrapped.pdb"))
    output = tmp_path / "beads.pdb"
    assert run("coarse-grain", tmp_path / "wrapped.pdb", "--nucleic-beads", "3spn2", "-o", output) == 0
    given, wrapped = mdtraj.load(str(beads(DNA))), mdtraj.load(str(output))
    apart = wrapped.xyz - [0.1, -0.3, 0.2] - given.xyz
    assert np.abs(apart - side * np.round(apart / side)).max() < 2e-3
    given.unitcell_vectors = wrapped.unitcell_vectors
    inside = backmap.reconstruct(given, seed=2)
    given.xyz %= side
    apart = backmap.reconstruct(given, seed=2).xyz - inside.xyz
    np.testing.assert_allclose(apart - side * np.round(apart / side), 0, atol=0.1)


def test_streams_batches_and_resumed_runs_give_the_same(dimers, tmp_path, capsys, monkeypatch):
    memory = backmap.reconstruct(dimers, seed=5).xyz
    stream = backmap.reconstruct_stream(iter(dimers.xyz[:3]), top=dimers.topology, seed=5)
    np.testing.assert_allclose(np.concatenate([frame.xyz for frame in stream]), memory[:3], atol=1e-6)

    monkeypatch.setattr(reader, "FRAMES_LOOKED_AT", 1)
    monkeypatch.setattr(reader, "_FRAMES_PER_LOOK", 1)
    dimers.xyz[4, 3] = np.nan
    dimers.save(str(tmp_path / "given.trr"))
    asked = ["reconstruct", tmp_path / "given.trr", "--top", tmp_path / "top.pdb", "--seed", 5]
    assert run(*asked, "-o", tmp_path / "stopped.trr", "--batch", 2) == 2
    error = capsys.readouterr().err
    assert "frame 5" in error and "stopped.trr.partial keeps 4 of 8 frames" in error
    skipping = [*asked, "--on-bad-frame", "skip"]
    assert run(*skipping, "-o", tmp_path / "stopped.trr", "--resume") == 0
    assert run(*skipping, "-o", tmp_path / "whole.trr", "--batch", 5) == 0
    assert (tmp_path / "stopped.trr").read_bytes() == (tmp_path / "whole.trr").read_bytes()


def test_strands_may_share_a_chain_and_lack_nucleotides(written, tmp_path, recwarn):
    lines = [line[:21] + "A" + line[22:] for line in atom_lines(DNA)]
    given = written([line for line in lines if line[17:26] != " DT A   4"])
    output = tmp_path / "beads.pdb"
    assert run("coarse-grain", given, "--nucleic-beads", "3spn2", "-o", output) == 0
    recwarn.clear()
    source = open_source(output, others="nucleic-acids", nucleic_beads="auto")
    numbers = source.nucleic.topology.numbers
    breaks = [numbers[row : row + 2].tolist() for row in np.flatnonzero(~source.nucleic.topology.linked)[:-1]]
    assert [3, 5] in breaks and [6, 1] in breaks
    assert "between chain A residue 3 DA and chain A residue 5" in str(recwarn[0].message)


def without(lines, name):
    """Leave out a bead or atom of the third residue of chain A."""
    return [line for line in lines if (line[12:16].strip(), line[21:26]) != (name, "A   3")]


def test_bad_beads_are_refused(beads, written, tmp_path, capsys):
    lines = atom_lines(beads(DNA))
    output = ["-o", tmp_path / "atoms.pdb"]
    far = [line[:30] + f"{10 * float(line[30:38]):8.2f}" + line[38:] for line in lines]
    modified = [line.replace(" DA A   3", "PSU A   3") for line in lines]
    cases = (
        (lines, ["--nucleic-beads", "nowhere"], "neither a mapping of nucleic acids"),
        (lines, ["--nucleic-beads", "p+base"], "residue 1 DC has the beads S, B, which the mapping p+base"),
        (lines, ["--keep-given"], "--keep-given: applies to proteins"),
        (lines, ["--best"], "--best: applies to proteins"),
        (lines, ["--beads", "martini3"], "--beads: applies to proteins"),
        (far, [], "too far apart"),
        (without(lines, "S"), [], "chain A residue 3 DA has the beads P, B, which no known mapping"),
        (lines[:4] + lines[3:], [], "chain A residue 2 DG has the beads P, S, S, B, which"),
        (modified, [], "chain A residue 3 PSU is none of A, C, G, U, DA, DC, DG and DT"),
        (atom_lines(DNA), [], "its nucleic acids are not built: they have all their atoms"),
    )
    capsys.readouterr()
    for given, options, message in cases:
        assert run("reconstruct", written(given), *options, *output) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "atoms.pdb").exists()


def test_bad_atoms_are_refused(written, tmp_path, capsys):
    lines = atom_lines(DNA)
    modified = [line.replace(" DA A   3", "5MC A   3") for line in lines]
    cases = (
        (protein_lines(3), ["--nucleic-beads", "3spn2"], "contains no nucleotides"),
        (lines, ["--beads", "3spn2"], "give it as --nucleic-beads 3spn2"),
        (lines, [], "no bead mapping"),
        (without(lines, "C1'"), ["--nucleic-beads", "3spn2"], "chain A residue 3 DA has no atom C1'"),
        (lines[:1] + lines, ["--nucleic-beads", "3spn2"], "has two atoms"),
        (modified, ["--nucleic-beads", "3spn2"], "chain A residue 3 5MC is none of A, C, G, U"),
    )
    for given, options, message in cases:
        assert run("coarse-grain", written(given), *options, "-o", tmp_path / "beads.pdb") == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "beads.pdb").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[every]\nP = 3", "P is 3; give names of atoms"),
        ("description = 3", "description is 3; it must be text"),
        ('[every]\nP = "P"\n[bases]\nA = 3', "[bases] has 'A'"),
        ('[every]\nP = "P"\n[bases.W]\nP = "P"', "[bases] has 'W'"),
        ('[every]\nP = "P"\n[also_named]\nQ = "Z"', "[also_named] has 'Q' = 'Z'"),
    ],
)
def test_bad_mappings_are_refused(text, message, tmp_path, capsys):
    (tmp_path / "own.toml").write_text(text)
    asked = ["--nucleic-beads", tmp_path / "own.toml", "-o", tmp_path / "beads.pdb"]
    assert run("coarse-grain", DNA, *asked) == 2
    assert message in capsys.readouterr().err


def test_a_mapping_of_ones_own(tmp_path, capsys):
    (tmp_path / "own.toml").write_text('[every]\nX = "sugar"\nY = "base"\n')
    asked = ["--nucleic-beads", tmp_path / "own.toml"]
    assert run("coarse-grain", RNA, *asked, "-o", tmp_path / "beads.pdb") == 0
    assert run("reconstruct", tmp_path / "beads.pdb", *asked, "-o", tmp_path / "atoms.pdb") == 0
    assert mdtraj.load(str(tmp_path / "atoms.pdb")).n_atoms == mdtraj.load(str(RNA)).n_atoms
    assert run("beads", tmp_path / "own.toml") == 0
    assert "X = C5'" in capsys.readouterr().out


def test_a_minimised_protein_keeps_off_nucleic_acids(beads, written, tmp_path, monkeypatch):
    """A chain pressed against DNA, with the minimisation seeing the DNA or not."""
    pytest.importorskip("openmm")
    from backmap.postprocessing.minimisation import RestrainedMinimisation

    duplex = beads(DNA)
    dna, protein = mdtraj.load(str(duplex)), mdtraj.load(str(written(protein_lines(8))))
    protein = protein.atom_slice(protein.topology.select("name CA"))
    protein.xyz[0] += dna.xyz[0].mean(axis=0) - protein.xyz[0].mean(axis=0)
    while np.linalg.norm(protein.xyz[0, :, None] - dna.xyz[0], axis=-1).min() < 0.30:
        protein.xyz[0, :, 0] += 0.05
    protein.save(str(tmp_path / "protein.pdb"))
    lines = [*atom_lines(tmp_path / "protein.pdb"), "TER\n", *renamed(atom_lines(duplex))]
    given = written(lines, "both.pdb")

    def nearest(name: str) -> float:
        output = tmp_path / name
        assert run("reconstruct", given, "-o", output, "--hydrogens", "--minimise", 100) == 0
        built = mdtraj.load(str(output))
        own = built.topology.select("protein")
        others = np.setdiff1d(np.arange(built.n_atoms), own)
        return np.linalg.norm(built.xyz[0, own][:, None] - built.xyz[0, others], axis=-1).min()

    seen = nearest("seen.pdb")
    heeding = RestrainedMinimisation.apply_beside
    monkeypatch.setattr(
        RestrainedMinimisation, "apply_beside", lambda own, atoms, _: heeding(own, atoms, None)
    )
    assert seen > max(0.15, nearest("unseen.pdb") + 0.03)
