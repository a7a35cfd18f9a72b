"""``backmap reconstruct`` with the protein model on inputs as programs write them: what comes out."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main

CASES = Path(__file__).parents[1] / "data" / "cases"
WALL = CASES / "periodic"
TRACE = "HLLEYGFGHVDMHFSEFFINMRWW"
BOX_NM = 8.0
"""Edge of the cubic box of ``periodic/wrapped.xtc``."""


def run(given: Path, output: Path, *more: str) -> mdtraj.Trajectory:
    """Reconstruct a file on the command line and load what was written."""
    assert main(["reconstruct", str(given), "-o", str(output), "--device", "cpu", "--quiet", *more]) == 0
    if output.suffix == ".pdb":
        return mdtraj.load_pdb(str(output), standard_names=False)
    return mdtraj.load(str(output), top=str(output.with_suffix(".pdb")))


def drift(tmp_path: Path, name: str, *more: str, output: str = "out.dcd") -> mdtraj.Trajectory:
    """Reconstruct the trajectory that drifts through a wall."""
    return run(WALL / f"{name}.xtc", tmp_path / output, "--top", str(WALL / "top.pdb"), *more)


def bonds(built: mdtraj.Trajectory, first: str, second: str) -> np.ndarray:
    """Give distances (frames, bonds) in nm of an atom to one of the next residue in its chain."""
    pairs = [
        [{atom.name: atom.index for atom in residue.atoms}[name] for residue, name in ends]
        for chain in built.topology.chains
        for ends in (
            ((one, first), (other, second))
            for one, other in zip(list(chain.residues), list(chain.residues)[1:], strict=False)
        )
    ]
    i, j = np.array(pairs).T
    return np.linalg.norm(built.xyz[:, i] - built.xyz[:, j], axis=-1)


def n_cis(built: mdtraj.Trajectory) -> int:
    """Count cis peptides, by omega."""
    _, omega = mdtraj.compute_omega(built, periodic=False)
    return int((np.abs(omega) < np.pi / 2).sum())


def sulfur_distances(built: mdtraj.Trajectory) -> np.ndarray:
    """Give the distances in nm of all pairs of SG in the first frame."""
    pairs = list(combinations(built.topology.select("name SG"), 2))
    return mdtraj.compute_distances(built, pairs, periodic=False)[0]


def require_sound(built: mdtraj.Trajectory, *lengths: int) -> None:
    """Require chains of these lengths, whole and with ends where they end."""
    chains = list(built.topology.chains)
    assert [chain.n_residues for chain in chains] == list(lengths)
    ends = [chain.residue(chain.n_residues - 1) for chain in chains]
    assert [atom.residue for atom in built.topology.atoms if atom.name == "OXT"] == ends
    assert np.isfinite(built.xyz).all()
    peptide = bonds(built, "C", "N")
    assert peptide.min() > 0.12 and peptide.max() < 0.14


def require_equal_but_for_images(built: mdtraj.Trajectory, expected: mdtraj.Trajectory) -> None:
    """Require the same atoms up to one lattice vector a frame."""
    apart = built.xyz.astype(np.float64) - expected.xyz
    images = np.rint(apart[:, :1] / BOX_NM)
    np.testing.assert_allclose(apart, np.broadcast_to(images * BOX_NM, apart.shape), atol=1e-5)


WHOLE = {
    "soft-bonds/hps_ddx4_snapshot.pdb": (236,),
    "chains/two_chains.pdb": (40, 40),
    "chains/wrap_short.pdb": (60,),
    "periodic/one_wrapped.pdb": (50,),
    "beads/1ab1_A.calpha.pdb": (46,),
    "names/one_letter.pdb": (24,),
    "names/fourletter.pdb": (24,),
    "names/amber_termini.pdb": (24,),
    "dialects/old_id.pdb": (24,),
    "dialects/resnum_stars.pdb": (24,),
    "dialects/box6.gro": (24,),
}


@pytest.mark.parametrize("case", WHOLE)
def test_whole_chains_in_silence(case, tmp_path, capsys):
    built = run(CASES / case, tmp_path / "out.pdb")
    require_sound(built, *WHOLE[case])
    assert n_cis(built) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("case", ["periodic/images.lammpstrj", "periodic/xs.lammpstrj"])
def test_lammps_dumps_take_their_sequence(case, tmp_path):
    (tmp_path / "in.fasta").write_text(f">A\n{TRACE}\n")
    built = run(CASES / case, tmp_path / "out.pdb", "--sequence", str(tmp_path / "in.fasta"))
    assert built.n_frames == 3
    require_sound(built, 24)


def test_residues_named_by_other_programs_take_their_sequence(tmp_path, capsys):
    (tmp_path / "in.fasta").write_text(">A\n" + 8 * "AGP" + "\n")
    given = CASES / "names/awsem.pdb"
    assert main(["reconstruct", str(given), "-o", str(tmp_path / "out.pdb")]) == 2
    assert "--sequence" in capsys.readouterr().err and not (tmp_path / "out.pdb").exists()
    built = run(given, tmp_path / "out.pdb", "--sequence", str(tmp_path / "in.fasta"))
    require_sound(built, 24)
    assert [residue.name for residue in built.topology.residues][:3] == ["ALA", "GLY", "PRO"]


@pytest.mark.parametrize("name", ["sep", "dal"])
def test_no_sequence_makes_a_modified_residue_an_ordinary_one(name, tmp_path):
    (tmp_path / "in.fasta").write_text(f">A\n{TRACE}\n")
    built = run(CASES / f"names/{name}.pdb", tmp_path / "out.pdb", "--sequence", str(tmp_path / "in.fasta"))
    assert built.n_residues == 24 and built.topology.residue(9).name == name.upper()


@pytest.mark.parametrize("case", ["names/bead_CG.pdb", "beads/1ab1_A.casc.pdb"])
def test_refused_with_nothing_written(case, tmp_path, capsys):
    assert main(["reconstruct", str(CASES / case), "-o", str(tmp_path / "out.pdb")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("backmap: error: ") and message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("link", "bonds"),
    [
        ("A:94:SG-A:112:SG", [("24", "145"), ("48", "133"), ("82", "98"), ("94", "112")]),
        ("A:82:SG-A:94:SG", [("24", "145"), ("48", "133")]),  # cannot close, and leaves both to no other
    ],
)
def test_links_decide_which_cysteines_are_bonded(link, bonds, tmp_path):
    run(CASES / "physics/lyso_ca.pdb", tmp_path / "out.pdb", "--link", link)
    lines = (tmp_path / "out.pdb").read_text().splitlines()
    assert [(line[17:21].strip(), line[31:35].strip()) for line in lines if "SSBOND" in line] == bonds


@pytest.mark.parametrize(("case", "count"), [("beads/1ab1_A.calpha.pdb", 3), ("physics/lyso_ca.pdb", 4)])
def test_disulfides(case, count, tmp_path):
    built = run(CASES / case, tmp_path / "out.pdb")
    given = mdtraj.load_pdb(str(CASES / case))
    np.testing.assert_array_equal(
        built.xyz[:, built.topology.select("name CA")], given.xyz[:, given.topology.select("name CA")]
    )
    distance = sulfur_distances(built)
    bonded = distance[distance < 0.3]
    np.testing.assert_allclose(bonded, np.full(count, 0.203), atol=0.005)
    assert (tmp_path / "out.pdb").read_text().count("SSBOND") == count


def test_a_cis_peptide_is_named(tmp_path, capsys):
    built = run(CASES / "physics/cis_nonpro_2.9.pdb", tmp_path / "out.pdb")
    assert n_cis(built) == 1
    said = "a cis peptide precedes a residue other than proline: chain A residue 3 SER"
    assert said in capsys.readouterr().err


def test_a_box_too_wide_for_pdb_is_left_out(tmp_path, capsys):
    built = run(CASES / "dialects/box_huge.gro", tmp_path / "out.pdb")
    assert built.unitcell_lengths is None
    assert "a box of 400000 Angstrom does not fit into a PDB file" in capsys.readouterr().err
    output = tmp_path / "wide.cif"
    assert main(["reconstruct", str(CASES / "dialects/box_huge.gro"), "-o", str(output), "--quiet"]) == 0
    assert "_cell.length_a 400000.000" in output.read_text()


def test_soft_bonds_are_kept_or_relaxed_as_asked(tmp_path):
    case = CASES / "soft-bonds/hps_ddx4_snapshot.pdb"
    given = mdtraj.load_pdb(str(case)).xyz
    moved = {}
    for name, more in {
        "auto": (),
        "keep": ("--c-alphas", "keep"),
        "given": ("--keep-given",),
        "noise": ("--bead-noise", "0.05"),
    }.items():
        built = run(case, tmp_path / f"{name}.pdb", *more)
        require_sound(built, 236)
        moved[name] = np.linalg.norm(built.xyz[:, built.topology.select("name CA")] - given, axis=-1)
        if name in ("auto", "noise"):
            np.testing.assert_allclose(bonds(built, "CA", "CA"), 0.3805, atol=2e-4)
    assert not moved["keep"].any() and not moved["given"].any()
    assert 0.05 < moved["noise"].mean() < moved["auto"].mean() < 0.12


def test_hydrogens_and_minimisation_leave_drawn_c_alphas(tmp_path):
    case = CASES / "names/fourletter.pdb"
    heavy, full = (
        run(case, tmp_path / f"{name}.pdb", *more)
        for name, more in (("heavy", ()), ("full", ("--hydrogens", "--minimise", "5")))
    )
    c_alphas = (built.xyz[:, built.topology.select("name CA")] for built in (heavy, full))
    np.testing.assert_array_equal(*c_alphas)
    assert full.n_atoms > 1.5 * heavy.n_atoms


def test_wrapped_beads_become_the_whole_molecule(tmp_path):
    wrapped, whole = (drift(tmp_path, name, output=f"{name}.dcd") for name in ("wrapped", "whole"))
    require_sound(wrapped, 50)
    require_equal_but_for_images(wrapped, whole)
    np.testing.assert_allclose(wrapped.unitcell_lengths, BOX_NM, atol=1e-5)


def test_a_frame_is_the_same_however_it_is_reached(tmp_path):
    """Alone, in a range, in batches of another size, by other processes, in a stream and in memory."""
    run_of_all = drift(tmp_path, "wrapped").xyz
    parts = {
        "alone": (("--begin", "24", "--end", "24"), slice(23, 24)),
        "range": (("--begin", "10", "--end", "30", "--stride", "4"), slice(9, 30, 4)),
        "batches": (("--batch", "3"), slice(None)),
        "workers": (("--workers", "2", "--batch", "7"), slice(None)),
    }
    for name, (more, frames) in parts.items():
        found = drift(tmp_path, "wrapped", *more, output=f"{name}.dcd").xyz
        np.testing.assert_allclose(found, run_of_all[frames], atol=1e-5, err_msg=name)
    given = mdtraj.load(str(WALL / "wrapped.xtc"), top=str(WALL / "top.pdb"))
    in_memory = backmap.reconstruct(given, device="cpu")
    np.testing.assert_allclose(in_memory.xyz, run_of_all, atol=1e-5)
    streamed = [frame.xyz[0] for frame in backmap.reconstruct_stream(iter(given), device="cpu")]
    np.testing.assert_allclose(streamed, run_of_all, atol=1e-5)


def test_samples_of_soft_beads_differ(tmp_path):
    main(
        ["reconstruct", str(CASES / "soft-bonds/hps_ddx4_snapshot.pdb"), "--samples", "2", "--quiet"]
        + ["-o", str(tmp_path / "out.pdb")]
    )
    first, second = (mdtraj.load_pdb(str(tmp_path / f"out_{n}.pdb")) for n in (1, 2))
    apart = np.linalg.norm(first.xyz - second.xyz, axis=-1)
    assert apart[:, first.topology.select("name CA")].mean() > 0.03 and apart.mean() > 0.1


@pytest.mark.parametrize("mode", ["auto", "keep"])
def test_chains_in_other_images_are_built_alike(mode):
    """Two chains in one box, the second moved by lattice vectors or wrapped bead by bead."""
    one = mdtraj.load(str(WALL / "whole.xtc"), top=str(WALL / "top.pdb"))[:10]
    both = one.stack(one[::-1])
    both.xyz[:, 50:] += np.array([2.0, 1.5, 0.5], dtype=np.float32)
    both.unitcell_lengths, both.unitcell_angles = np.full((10, 3), BOX_NM), np.full((10, 3), 90.0)
    moved, wrapped = both[:], both[:]
    moved.xyz[:, 50:] += np.array([BOX_NM, -BOX_NM, 0], dtype=np.float32)
    wrapped.xyz -= BOX_NM * np.floor(wrapped.xyz / BOX_NM)
    expected, *others = (
        backmap.reconstruct(given, device="cpu", c_alphas=mode) for given in (both, moved, wrapped)
    )
    second = np.array([atom.residue.chain.index == 1 for atom in expected.topology.atoms])
    for built in others:
        for chain in (second, ~second):
            apart = built.xyz[:, chain].astype(np.float64) - expected.xyz[:, chain]
            images = np.rint(apart[:, :1] / BOX_NM)
            np.testing.assert_allclose(apart - BOX_NM * images, 0, atol=3e-5)
