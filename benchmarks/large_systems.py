"""Time and memory of `backmap reconstruct` for large systems, file to file.

Run from the repository root::

    python benchmarks/large_systems.py --json benchmarks/results/large_systems.json

The systems are one frame of a slab in a box twice as long: `folded` of chains of the example structure,
turned at random, on a grid; `soft` of disordered chains as CALVADOS has them, whose beads know nothing of
angles; `short chains` of ten residues each; `one chain` of all residues. `samples` are many structures of the
example in one frame, `frames` a trajectory of it, and `slab frames` one of a folded slab of 10 000 residues.

``--json`` adds the measurements to those of a file, each with its commit; ``docs/write_speed.py`` writes the
table of ``docs/results.md`` from it. ``--kinds`` and ``--sizes`` choose among the cases.
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
RESIDUES_OF_SLAB_FRAMES = 10_000
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
    return write_noisy_frames(path, structure.atom_slice(structure.topology.select("name CA")), frames)


def write_slab_frames(path: Path, frames: int) -> int:
    """Write a folded slab, with noise in all frames; give the number of residues."""
    write_folded_slab(path, RESIDUES_OF_SLAB_FRAMES)
    return write_noisy_frames(path, mdtraj.load(str(path)), frames)


def write_noisy_frames(path: Path, c_alpha: mdtraj.Trajectory, frames: int) -> int:
    """Write a structure, and beside it a trajectory of it with noise; give the number of residues."""
    noise = np.random.default_rng(0).normal(0, 0.01, (frames, c_alpha.n_atoms, 3))
    trajectory = mdtraj.Trajectory((c_alpha.xyz + noise).astype(np.float32), c_alpha.topology)
    if c_alpha.unitcell_lengths is not None:
        trajectory.unitcell_lengths = np.tile(c_alpha.unitcell_lengths, (frames, 1))
        trajectory.unitcell_angles = np.tile(c_alpha.unitcell_angles, (frames, 1))
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
    """What a case took, at which commit; `residues` over all samples and frames. Old rows lack seconds."""

    kind: str
    size: int
    threads: int
    residues: int
    wall_s: float | None
    cpu_s: float
    memory_gb: float
    commit: str


CASES = [
    *(Case(kind, size) for kind in ("folded", "soft") for size in (10_000, 30_000, 100_000)),
    Case("folded", 100_000, 2),
    Case("folded", 200_000),
    Case("folded", 300_000),
    Case("folded", 1_000_000),
    Case("short chains", 100_000),
    Case("one chain", 35_000),
    Case("samples", 1000),
    Case("frames", 200),
    Case("frames", 2000),
    Case("slab frames", 5),
    Case("slab frames", 40),
]
TRAJECTORIES = {"frames": write_example, "slab frames": write_slab_frames}


def prepare(case: Case, folder: Path) -> tuple[int, list[str]]:
    """Write the input of a case; give the residues to build and the arguments of the command."""
    given = folder / "beads.pdb"
    if case.kind in SLABS:
        return SLABS[case.kind](given, case.size), [str(given), "-o", str(folder / "atoms.cif")]
    if case.kind in TRAJECTORIES:
        built = case.size * TRAJECTORIES[case.kind](given, case.size)
        return built, [str(given.with_suffix(".xtc")), "--top", str(given), "-o", str(folder / "atoms.xtc")]
    built = write_example(given, 1)
    output = ["-o", str(folder / "atoms.pdb"), "--samples", str(case.size)]
    return built * case.size, [str(given), *output]


def measure(case: Case) -> Row:
    """Build a case in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        residues, arguments = prepare(case, Path(folder))
        command = [sys.executable, "-m", "backmap", "reconstruct", *arguments]
        wall, cpu, memory = run([*command, "--threads", str(case.threads)], case.threads)
    measured = round(wall, 1), round(cpu, 1), round(memory, 2)
    return Row(case.kind, case.size, case.threads, residues, *measured, commit())


def commit() -> str:
    """Give the commit that is measured, with a plus sign if the package differs from it."""
    head = git("rev-parse", "--short=7", "HEAD").stdout.strip()
    return f"{head}+" if git("diff", "--quiet", "HEAD", "--", "backmap", "csrc").returncode else head


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask git about the repository."""
    return subprocess.run(["git", *arguments], cwd=EXAMPLE.parents[1], capture_output=True, text=True)


def run(command: list[str], threads: int) -> tuple[float, float, float]:
    """Run a command; give seconds, seconds of the processor, and the most memory it held, in GB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def table(rows: Iterable[Row]) -> str:
    """Write measurements in Markdown, in the order of the cases."""
    titles = "system | residues | threads | CPU seconds | residues per CPU second | peak memory, GB | commit"
    lines = [f"| {titles} |", "| --- " * 7 + "|"]
    measured = {Case(row.kind, row.size, row.threads): row for row in rows}
    return "\n".join(lines + [line_of(measured[case]) for case in CASES if case in measured])


def line_of(row: Row) -> str:
    """Write a row of the table in Markdown."""
    kind = row.kind if row.kind in SLABS else f"{row.size} {row.kind}"
    cells = f"{row.residues} | {row.threads} | {row.cpu_s:.1f} | {row.residues / row.cpu_s:.0f}"
    return f"| {kind} | {cells} | {row.memory_gb:.2f} | `{row.commit}` |"


def read_rows(path: Path) -> list[Row]:
    """Read the measurements of a file."""
    return [Row(**entries) for entries in json.loads(path.read_text(encoding="utf-8"))]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=sorted({case.kind for case in CASES}))
    parser.add_argument("--sizes", nargs="+", type=int, help="only cases of these sizes")
    parser.add_argument("--json", type=Path, help="add all measurements to those of this file")
    arguments = parser.parse_args()
    known = read_rows(arguments.json) if arguments.json and arguments.json.exists() else []
    rows = {Case(row.kind, row.size, row.threads): row for row in known}
    for case in CASES:
        if case.kind in (arguments.kinds or [case.kind]) and case.size in (arguments.sizes or [case.size]):
            rows[case] = measure(case)
            print(line_of(rows[case]), flush=True)
            if arguments.json:
                entries = [asdict(row) for row in rows.values()]
                arguments.json.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    print(f"\n{table(rows.values())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
