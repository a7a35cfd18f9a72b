"""Files damaged at random: whatever the damage, they are read or refused in one sentence."""

from __future__ import annotations

import gzip
import random
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.errors import InputError
from backmap.io import open_source
from tests.fuzzing import tries

from .conftest import helix

RESIDUES, FRAMES = 14, 4
NAMES = "ALA GLY SER TRP LYS LEU GLU ASP VAL ILE THR ASN GLN PRO".split()
LETTERS = "AGSWKLEDVITNQP"


def trajectory() -> mdtraj.Trajectory:
    """C-alphas of a helix that moves a little, in a box."""
    topology = mdtraj.Topology()
    chain = topology.add_chain("A")
    for number, name in enumerate(NAMES, 1):
        residue = topology.add_residue(name, chain, number)
        topology.add_atom("CA", mdtraj.element.carbon, residue)
    moved = np.random.default_rng(0).normal(0, 0.003, (FRAMES, RESIDUES, 3))
    places = (helix(RESIDUES) + 3 + moved).astype(np.float32)
    return mdtraj.Trajectory(
        places,
        topology,
        unitcell_lengths=np.full((FRAMES, 3), 20.0),
        unitcell_angles=np.full((FRAMES, 3), 90.0),
    )


def psf_text() -> str:
    rows = [
        f"{number:>8} A    {number:<4} {name:<4} CA   C    0.000000       12.0110           0\n"
        for number, name in enumerate(NAMES, 1)
    ]
    bonds = "".join(f"{number:>8}{number + 1:>8}" for number in range(1, RESIDUES))
    return (
        f"PSF\n\n       1 !NTITLE\n REMARKS made\n\n{RESIDUES:>8} !NATOM\n{''.join(rows)}\n"
        f"{RESIDUES - 1:>8} !NBOND: bonds\n{bonds}\n\n"
    )


def mol2_text(places: np.ndarray) -> str:
    rows = [
        f"{number} CA {x:.3f} {y:.3f} {z:.3f} C.3 {number} {name}{number} 0.0\n"
        for number, (name, (x, y, z)) in enumerate(zip(NAMES, 10 * places, strict=True), 1)
    ]
    bonds = [f"{number} {number} {number + 1} 1\n" for number in range(1, RESIDUES)]
    return (
        f"@<TRIPOS>MOLECULE\nmade\n{RESIDUES} {RESIDUES - 1} {RESIDUES}\nPROTEIN\nNO_CHARGES\n\n"
        f"@<TRIPOS>ATOM\n{''.join(rows)}@<TRIPOS>BOND\n{''.join(bonds)}"
    )


def dump_text(places: np.ndarray) -> str:
    return "".join(
        f"ITEM: TIMESTEP\n{number}\nITEM: NUMBER OF ATOMS\n{RESIDUES}\nITEM: BOX BOUNDS pp pp pp\n"
        + "0 200\n" * 3
        + "ITEM: ATOMS id type x y z\n"
        + "".join(
            f"{atom} {letter} {x:.3f} {y:.3f} {z:.3f}\n"
            for atom, (letter, (x, y, z)) in enumerate(zip(LETTERS, 10 * frame, strict=True), 1)
        )
        for number, frame in enumerate(places)
    )


def write_gsd(path: Path, places: np.ndarray) -> None:
    """Write a GSD file where the package is there."""
    try:
        import gsd.hoomd
    except ImportError:
        return
    with gsd.hoomd.open(str(path), "w") as file:
        for number, frame in enumerate(places):
            made = gsd.hoomd.Frame()
            made.particles.N, made.particles.types = RESIDUES, list(LETTERS)
            made.particles.typeid, made.particles.position = range(RESIDUES), frame
            made.bonds.N, made.bonds.types = RESIDUES - 1, ["b"]
            made.bonds.group = [(atom, atom + 1) for atom in range(RESIDUES - 1)]
            made.configuration.step, made.configuration.box = number, [20, 20, 20, 0, 0, 0]
            file.append(made)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Give a folder of undamaged files of the helix, in all formats."""
    folder = tmp_path_factory.mktemp("whole")
    made = trajectory()
    for name in "xtc trr dcd h5 nc pdb gro mdcrd xyz".split():
        made.save(str(folder / f"run.{name}"))
    made[0].save(str(folder / "run.rst7"))
    made[0].save(str(folder / "run.ncrst"))
    made[0].save(str(folder / "run.cif"))
    np.save(folder / "run.npy", 10 * made.xyz)
    (folder / "top.fasta").write_text(f">a\n{LETTERS}\n")
    (folder / "run.psf").write_text(psf_text())
    (folder / "run.mol2").write_text(mol2_text(made.xyz[0]))
    (folder / "run.lammpstrj").write_text(dump_text(made.xyz))
    write_gsd(folder / "run.gsd", made.xyz)
    for name in ("pdb", "cif"):
        (folder / f"run.{name}.gz").write_bytes(gzip.compress((folder / f"run.{name}").read_bytes()))
    return folder


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes or a whole field, cut the end off, take a piece out or put one in."""
    content = bytearray(data)
    kind = rng.randrange(6)
    place = rng.randrange(len(content))
    if kind == 0:
        del content[place:]
    elif kind == 1:
        del content[place : place + rng.randrange(1, 100)]
    elif kind == 2:
        content[place:place] = rng.randbytes(rng.randrange(1, 100))
    elif kind == 3:
        field = rng.choice([0, 1, -1, 2**31 - 1, -(2**31), rng.randrange(10**5)])
        start = place // 4 * 4
        content[start : start + 4] = field.to_bytes(4, rng.choice(["big", "little"]), signed=True)
    else:
        for _ in range(rng.choice([1, 2, 8, 30])):
            content[rng.randrange(len(content))] = rng.choice([0, 10, 32, 255, rng.randrange(256)])
    return bytes(content)


TRAJECTORIES = ["run.xtc", "run.trr", "run.dcd", "run.nc", "run.mdcrd", "run.xyz", "run.rst7", "run.ncrst"]
STRUCTURES = ["run.pdb", "run.gro", "run.cif", "run.pdb.gz", "run.cif.gz", "run.h5", "run.mol2"]
TOPOLOGIES = ["run.pdb", "run.gro", "run.cif", "run.psf", "run.mol2", "run.h5"]
OF_SEQUENCES = ["run.npy", "run.lammpstrj", "run.gsd"]

CASES = [
    *[(name, "top", name, "run.pdb") for name in TRAJECTORIES],
    *[(name, None, name, None) for name in STRUCTURES],
    *[(f"topology {name}", "top", "run.dcd", name) for name in TOPOLOGIES],
    *[(name, "sequence", name, "top.fasta") for name in OF_SEQUENCES],
]


@pytest.mark.fuzz
@pytest.mark.parametrize(("case", "option", "name", "names"), CASES, ids=[case[0] for case in CASES])
def test_damaged_files_are_read_or_refused(tmp_path, whole, capfd, case, option, name, names):
    if name == "run.gsd":
        pytest.importorskip("gsd.hoomd")
    spoilt = names if case.startswith("topology") else name
    for seed in tries(12):
        rng = random.Random(f"{case} {seed}")
        path = tmp_path / spoilt
        path.write_bytes(damaged((whole / spoilt).read_bytes(), rng))
        files = {key: path if key == spoilt else whole / key for key in (name, names) if key}
        options = {} if option is None else {option: files[names]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for chunk in open_source(files[name], **options).chunks(2):
                    assert np.isfinite(chunk.coordinates[chunk.coordinates == chunk.coordinates]).all()
            except InputError as error:
                assert "\n" not in str(error) and str(error).isprintable(), seed
            except Exception as error:
                raise AssertionError(f"{case}, seed {seed}") from error
        assert capfd.readouterr() == ("", ""), seed
