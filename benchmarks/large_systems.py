"""Time and memory of `backmap reconstruct` for large systems, file to file.

Run from the repository root::

    python benchmarks/large_systems.py --json benchmarks/results/large_systems.json

The systems are one frame of a slab in a box twice as long: `folded` of chains of the example structure,
turned at random, on a grid; `soft` of disordered chains as CALVADOS has them, whose beads know nothing of
angles; `short chains` of ten residues each; `one chain` of all residues. `samples` are many structures of the
example in one frame, and `frames` a trajectory of it. A last row for a million residues is a straight line
through the two largest folded slabs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import mdtraj
import numpy as np
from condensate import BOND_NM, BOND_STIFFNESS, DIAMETER_NM, RESIDUES_PER_NM3, make_topology
from scipy.spatial import KDTree

EXAMPLE = Path(__file__).parent.parent / "examples" / "2bf5.pdb.gz"
SPACING_NM = 3.6
"""Of the grid: 2 residues a cubic nanometre, as in a condensate."""

CHAIN_LENGTHS = 50, 200
KT = 2.494
"""In kJ/mol at 300 K."""
ROUNDS_OF_SHAKING, ROUNDS_OF_BONDS = 60, 20


def write_soft_slab(path: Path, residues: int) -> int:
    """Write a slab of disordered chains; give the number of residues."""
    random, lengths = np.random.default_rng(0), list[int]()
    while sum(lengths) < residues:
        lengths.append(int(random.integers(*CHAIN_LENGTHS, endpoint=True)))
    return write_disordered(path, lengths, random)


def write_short_chains(path: Path, residues: int) -> int:
    """Write a slab of disordered chains of ten residues; give the number of residues."""
    return write_disordered(path, [10] * (residues // 10), np.random.default_rng(0))


def write_one_chain(path: Path, residues: int) -> int:
    """Write a slab of one disordered chain; give the number of residues."""
    return write_disordered(path, [residues], np.random.default_rng(0))


def write_disordered(path: Path, lengths: list[int], random: np.random.Generator) -> int:
    """Write a slab of disordered chains, each bead wrapped into the box; give the number of residues."""
    n_beads = sum(lengths)
    width = (n_beads / RESIDUES_PER_NM3) ** (1 / 3)
    begins = np.cumsum([0, *lengths[:-1]])
    walks = np.cumsum(BOND_NM / 3**0.5 * random.normal(size=(n_beads, 3)), axis=0)
    walks -= np.repeat(walks[begins] - width * random.random((len(lengths), 3)), lengths, axis=0)
    positions = shaken(walks, np.setdiff1d(np.arange(1, n_beads), begins), width, random)
    box = np.array([width, width, 2 * width])
    slab = mdtraj.Trajectory((positions % box)[None], make_topology(lengths, random))
    slab.unitcell_lengths, slab.unitcell_angles = box[None], np.full((1, 3), 90.0)
    slab.save(str(path))
    return n_beads


def shaken(
    positions: np.ndarray, bonded: np.ndarray, width: float, random: np.random.Generator
) -> np.ndarray:
    """Push beads (beads, 3) of a cube apart, and give the bonds to those before equilibrium lengths."""
    lengths = random.normal(BOND_NM, (KT / BOND_STIFFNESS) ** 0.5, len(bonded))[:, None]
    halves = [bonded % 2 == odd for odd in (0, 1)]
    for n_left in range(ROUNDS_OF_SHAKING, 0, -1):
        if n_left > ROUNDS_OF_BONDS:
            tree = KDTree(positions % width, boxsize=width)
            first, second = tree.query_pairs(DIAMETER_NM, output_type="ndarray").T
            move(positions, first, second, DIAMETER_NM, width)
        for half in halves:
            move(positions, bonded[half] - 1, bonded[half], lengths[half], np.inf)
    return positions


def move(positions: np.ndarray, first: np.ndarray, second: np.ndarray, apart: object, width: float) -> None:
    """Move pairs of beads, both by as much, to be so far apart."""
    ways = positions[second] - positions[first]
    if np.isfinite(width):
        ways -= width * np.round(ways / width)
    ways *= 0.5 * (apart / np.linalg.norm(ways, axis=-1, keepdims=True) - 1)
    np.add.at(positions, second, ways)
    np.subtract.at(positions, first, ways)


def write_folded_slab(path: Path, residues: int) -> int:
    """Write the C-alphas of a slab of at least so many residues; give their number."""
    structure = mdtraj.load(str(EXAMPLE))
    structure = structure.atom_slice(structure.topology.select("name CA"))
    parts = [structure.atom_slice([atom.index for atom in chain.atoms]) for chain in structure.top.chains]
    random, chains = np.random.default_rng(0), []
    while sum(chain.n_atoms for chain in chains) < residues:
        chains.append(parts[len(chains) % len(parts)])
    across = int(np.ceil((len(chains) / 2) ** (1 / 3)))
    along = int(np.ceil(len(chains) / across**2))
    positions = []
    for number, chain in enumerate(chains):
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        place = number % across, number // across % across, number // across**2
        positions.append((chain.xyz[0] - chain.xyz[0].mean(axis=0)) @ turn + SPACING_NM * np.array(place))
    topology = mdtraj.Topology()
    for chain in chains:
        added = topology.add_chain()
        for residue in chain.top.residues:
            copy = topology.add_residue(residue.name, added, resSeq=residue.resSeq)
            topology.add_atom("CA", mdtraj.element.carbon, copy)
    box = SPACING_NM * np.array([[across, across, 2 * along]])
    slab = mdtraj.Trajectory(
        np.concatenate(positions)[None],
        topology,
        unitcell_lengths=box,
        unitcell_angles=np.full((1, 3), 90.0),
    )
    slab.save(str(path))
    return slab.n_atoms


def write_example(path: Path, frames: int) -> int:
    """Write the C-alphas of the example structure, with noise in all frames; give the number of residues."""
    structure = mdtraj.load(str(EXAMPLE))
    c_alpha = structure.atom_slice(structure.topology.select("name CA"))
    noise = np.random.default_rng(0).normal(0, 0.01, (frames, c_alpha.n_atoms, 3))
    trajectory = mdtraj.Trajectory((c_alpha.xyz + noise).astype(np.float32), c_alpha.topology)
    trajectory[0].save(str(path))
    trajectory.save(str(path.with_suffix(".xtc")))
    return c_alpha.n_atoms


SLABS = {
    "folded": write_folded_slab,
    "soft": write_soft_slab,
    "short chains": write_short_chains,
    "one chain": write_one_chain,
}


@dataclass(frozen=True)
class Case:
    """What is built: `size` residues of a slab, or as many samples or frames of the example."""

    kind: str
    size: int
    threads: int = 1


@dataclass(frozen=True)
class Row:
    """What a case took; `residues` over all samples and frames, `measured` false if it was extrapolated."""

    kind: str
    residues: int
    threads: int
    wall_s: float
    cpu_s: float
    memory_gb: float
    measured: bool = True


CASES = [
    *(Case(kind, size) for kind in ("folded", "soft") for size in (10_000, 30_000, 100_000)),
    Case("folded", 100_000, 2),
    Case("folded", 200_000),
    Case("folded", 300_000),
    Case("short chains", 100_000),
    Case("one chain", 35_000),
    Case("samples", 1000),
    Case("frames", 200),
    Case("frames", 2000),
]
EXTRAPOLATED = 1_000_000


def prepare(case: Case, folder: Path) -> tuple[int, list[str]]:
    """Write the input of a case; give the residues to build and the arguments of the command."""
    given = folder / "beads.pdb"
    if case.kind in SLABS:
        return SLABS[case.kind](given, case.size), [str(given), "-o", str(folder / "atoms.cif")]
    frames = case.size if case.kind == "frames" else 1
    built = frames * write_example(given, frames)
    if case.kind == "frames":
        return built, [str(given.with_suffix(".xtc")), "--top", str(given), "-o", str(folder / "atoms.xtc")]
    output = ["-o", str(folder / "atoms.pdb"), "--samples", str(case.size)]
    return built * case.size, [str(given), *output]


def measure(case: Case) -> Row:
    """Build a case in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        residues, arguments = prepare(case, Path(folder))
        command = [sys.executable, "-m", "backmap", "reconstruct", *arguments]
        wall, cpu, memory = run([*command, "--threads", str(case.threads)], case.threads)
    return Row(case.kind, residues, case.threads, round(wall, 1), round(cpu, 1), round(memory, 2))


def run(command: list[str], threads: int) -> tuple[float, float, float]:
    """Run a command; give seconds, seconds of the processor, and the most memory it held, in GB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def extrapolate(rows: Iterable[Row], residues: int) -> Row | None:
    """Return a row on the straight line through the two largest folded slabs on one thread."""
    slabs = sorted(
        (row for row in rows if row.kind == "folded" and row.threads == 1), key=lambda row: row.residues
    )
    if len(slabs) < 2:
        return None
    low, high = slabs[-2:]

    def line(smaller: float, larger: float) -> float:
        slope = (larger - smaller) / (high.residues - low.residues)
        return larger + slope * (residues - high.residues)

    wall, cpu = line(low.wall_s, high.wall_s), line(low.cpu_s, high.cpu_s)
    memory = line(low.memory_gb, high.memory_gb)
    return Row("folded", residues, 1, round(wall), round(cpu), round(memory, 1), measured=False)


def line_of(row: Row) -> str:
    """Write a row of the table in Markdown."""
    kind = row.kind if row.measured else f"{row.kind}, extrapolated"
    cells = f"{row.residues} | {row.threads} | {row.wall_s:.1f} | {row.cpu_s:.1f}"
    return f"| {kind} | {cells} | {row.residues / row.cpu_s:.0f} | {row.memory_gb:.2f} |"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=sorted({case.kind for case in CASES}))
    parser.add_argument("--largest", type=int, default=EXTRAPOLATED, help="leave out larger slabs")
    parser.add_argument("--json", type=Path, help="write all measurements here")
    arguments = parser.parse_args()
    print(
        "| system | residues | threads | seconds | CPU seconds | residues per CPU second | peak memory, GB |"
    )
    print("| --- " * 7 + "|", flush=True)
    rows: list[Row] = []
    for case in CASES:
        if case.size <= arguments.largest and case.kind in (arguments.kinds or [case.kind]):
            rows.append(measure(case))
            print(line_of(rows[-1]), flush=True)
    if last := extrapolate(rows, EXTRAPOLATED):
        rows.append(last)
        print(line_of(last))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
