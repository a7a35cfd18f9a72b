"""Are built structures ready to simulate? Dynamics of many of them without restraints, in implicit solvent.

Run from the repository root, with files or folders of PDB files::

    python benchmarks/stability.py ../shared/data/pdb/test-dev

Every structure of up to ``--longest`` residues, the smallest first, is rebuilt from its C-alphas by ``backmap
reconstruct --hydrogens --minimise``. OpenMM reads the file as it is, in AMBER ff14SB with the solvent OBC2
and a cutoff of 1.2 nm, and simulates it at 300 K without restraints: Langevin dynamics, 1/ps, steps of 2 fs
(4 fs for the solvent, which takes most of the time), bonds to hydrogen constrained. A structure is stable if

- OpenMM's force field knows all its residues, and energies and positions stay finite;
- the temperature, averaged over the second half, is within 30 K of 300 K;
- C-alphas end within 0.3 nm (RMSD after superposition) of where they began;
- all bonds end within 10 % of the force field's lengths;
- no chiral centre (C-alphas, CB of Ile and Thr) and no peptide bond changed its hand or side.

Prints a table in Markdown, and writes every structure to ``--json`` when it is done. A run that was stopped
continues with the structures that are not there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import openmm
from openmm import app, unit
from openmm_reference import MOLECULE, SOLVENT, amber_system, context_on_one_thread

from backmap.chemistry import SLOT_CA
from backmap.evaluation.bonds import BOND_TOLERANCE
from backmap.evaluation.dihedrals import TORSIONS, dihedral_angles, torsion_atoms
from backmap.evaluation.regions import members, residue_regions
from backmap.evaluation.stereochemistry import alpha_centres, beta_centres, right_handed
from backmap.evaluation.superposition import superpose
from backmap.io import source_from_mdtraj

TEMPERATURE_K = 300.0
LARGEST_DEVIATION_K = 30.0
LARGEST_RMSD_NM = 0.3
FRICTION_PER_PS = 1.0
CUTOFF_NM = 1.2
STEP_PS = 0.004
"""Of the forces of the solvent; all others are evaluated twice as often."""
STEPS_PER_SAMPLE = 25
"""Steps between two measurements of the temperature."""


@dataclass(frozen=True)
class Outcome:
    """What became of a structure.

    Attributes
    ----------
    residues : int
        Number of residues.
    refused : str, optional
        Why it was not built, or not loaded.
    finite : bool
        Whether energies and positions stayed finite.
    temperature_k : float
        Mean over the second half.
    energy_before, energy_after : float
        Potential energies in kJ/mol.
    rmsd_nm : float
        Of the C-alphas, from the start.
    bonds_within_tolerance : float
        Percent.
    centres_inverted, peptides_turned : int
        Chiral centres that changed their hand, and peptide bonds that changed between cis and trans.
    """

    residues: int
    refused: str | None = None
    finite: bool = False
    temperature_k: float = float("nan")
    energy_before: float = float("nan")
    energy_after: float = float("nan")
    rmsd_nm: float = float("nan")
    bonds_within_tolerance: float = float("nan")
    centres_inverted: int = 0
    peptides_turned: int = 0

    @property
    def stable(self) -> bool:
        """Whether it is fit to simulate."""
        return (
            self.finite
            and abs(self.temperature_k - TEMPERATURE_K) <= LARGEST_DEVIATION_K
            and self.rmsd_nm <= LARGEST_RMSD_NM
            and self.bonds_within_tolerance == 100.0
            and self.centres_inverted == self.peptides_turned == 0
        )


COLUMNS: dict[str, str] = {
    "residues": "d",
    "temperature_k": ".0f",
    "energy_before": ".0f",
    "energy_after": ".0f",
    "rmsd_nm": ".3f",
    "bonds_within_tolerance": ".2f",
    "centres_inverted": "d",
    "peptides_turned": "d",
}
"""Columns of the table, with the format of their values."""

TITLES = (
    "structure",
    "residues",
    "temperature, K",
    "energy at the start, kJ/mol",
    "at the end",
    "RMSD of C-alphas, nm",
    "bonds within 10 %, %",
    "centres inverted",
    "peptides turned",
    "stable",
)


def c_alphas_of(path: Path) -> list[str]:
    """Return the lines of the C-alphas of a PDB file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        return [line for line in file if line.startswith("ATOM") and line[12:16] == " CA "]


def rebuild(lines: Sequence[str], output: Path, iterations: int) -> str | None:
    """Write all atoms of C-alphas, minimised; return why that was refused, or None."""
    given = output.with_name("c_alpha.pdb")
    given.write_text("".join([*lines, "END\n"]))
    words = ["reconstruct", given, "-o", output, "--hydrogens", "--minimise", iterations]
    command = [sys.executable, "-m", "backmap", *map(str, words), "--names-for", "openmm", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


class Dynamics:
    """Langevin dynamics of a molecule as OpenMM reads it from a file, without restraints."""

    def __init__(self, path: Path) -> None:
        self.file = app.PDBFile(str(path))
        self.system = amber_system(self.file.topology, CUTOFF_NM, app.HBonds)
        rates = [(MOLECULE, 2), (SOLVENT, 1)]
        self.integrator = openmm.MTSLangevinIntegrator(TEMPERATURE_K, FRICTION_PER_PS, STEP_PS, rates)
        self.integrator.setRandomNumberSeed(1)
        self.context = context_on_one_thread(self.system, self.integrator)

    def run(self, picoseconds: float) -> np.ndarray:
        """Return temperatures in K of the second half, from random velocities."""
        self.context.setPositions(self.file.positions)
        self.context.applyConstraints(1e-6)
        self.context.setVelocitiesToTemperature(TEMPERATURE_K, 1)
        samples = round(picoseconds / STEP_PS / STEPS_PER_SAMPLE)
        temperatures = []
        for _ in range(samples):
            self.integrator.step(STEPS_PER_SAMPLE)
            temperatures.append(self.temperature)
        return np.array(temperatures[samples // 2 :])

    @property
    def temperature(self) -> float:
        """Temperature in K, of all motions but that of the whole, which is removed."""
        kinetic = self.context.getState(energy=True).getKineticEnergy()
        freedoms = 3 * self.system.getNumParticles() - self.system.getNumConstraints() - 3
        return 2.0 * kinetic / (freedoms * unit.MOLAR_GAS_CONSTANT_R) / unit.kelvin

    @property
    def energy(self) -> float:
        """Potential energy in kJ/mol."""
        state = self.context.getState(energy=True)
        return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)

    @property
    def positions(self) -> np.ndarray:
        """Positions (atoms, 3) in nm."""
        state = self.context.getState(positions=True)
        return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)

    def sound_bonds(self, positions: np.ndarray) -> float:
        """Percentage of bonds whose length is within 10 % of the force field's."""
        lengths = [
            (first, second, length.value_in_unit(unit.nanometer))
            for first, second, length in _bonds(self.system)
        ]
        pairs = np.array([entry[:2] for entry in lengths])
        ideal = np.array([entry[2] for entry in lengths])
        found = np.linalg.norm(np.subtract(*positions[pairs.T]), axis=-1)
        return 100.0 * float((np.abs(found - ideal) <= BOND_TOLERANCE * ideal).mean())


def _bonds(system: openmm.System) -> Iterator[tuple[int, int, Any]]:
    """Atoms and equilibrium lengths of all bonds, constrained or not."""
    for constraint in range(system.getNumConstraints()):
        first, second, length = system.getConstraintParameters(constraint)
        yield first, second, length
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for bond in range(force.getNumBonds()):
                first, second, length, _ = force.getBondParameters(bond)
                yield first, second, length


def changes(topology: app.Topology, before: np.ndarray, after: np.ndarray) -> tuple[float, int, int]:
    """RMSD of C-alphas in nm, chiral centres inverted, and peptide bonds turned; positions (atoms, 3)."""
    frames = mdtraj.Trajectory(np.stack([before, after]), mdtraj.Topology.from_openmm(topology))
    source = source_from_mdtraj(frames)
    (chunk,) = source.chunks(2)
    atoms = source.sites.in_slots(chunk.coordinates).astype(np.float64)
    present, regions = source.sites.present, residue_regions(source.topology)

    c_alpha = atoms[:, :, SLOT_CA]
    moved = superpose(c_alpha[1:], np.arange(c_alpha.shape[1]), c_alpha[0])
    rmsd = float(np.sqrt(np.square(moved[0] - c_alpha[0]).sum(axis=-1).mean()))

    centres = np.concatenate([alpha_centres(source.topology), beta_centres(source.topology)])
    hands = right_handed(atoms, centres)
    inverted = (hands[0] != hands[1]) & members(centres, present, regions)[1]

    omega = torsion_atoms(source.topology, source.linked)[TORSIONS.index("omega")]
    trans = np.abs(dihedral_angles(atoms, omega)) > 90.0
    turned = (trans[0] != trans[1]) & members(omega, present, regions)[1]
    return rmsd, int(inverted.sum()), int(turned.sum())


def judge(path: Path, iterations: int, picoseconds: float) -> Outcome:
    """Rebuild and simulate a structure."""
    lines = c_alphas_of(path)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "built.pdb"
        refused = rebuild(lines, built, iterations)
        if refused is not None:
            return Outcome(len(lines), refused)
        try:
            dynamics = Dynamics(built)
        except ValueError as error:
            return Outcome(len(lines), " ".join(str(error).split()))
    return simulate(dynamics, len(lines), picoseconds)


def simulate(dynamics: Dynamics, residues: int, picoseconds: float) -> Outcome:
    """Simulate a structure and compare its end with its start."""
    dynamics.context.setPositions(dynamics.file.positions)
    before, energy_before = dynamics.positions, dynamics.energy
    try:
        temperatures = dynamics.run(picoseconds)
    except openmm.OpenMMException:  # positions became NaN
        return Outcome(residues, energy_before=energy_before)
    after, energy = dynamics.positions, dynamics.energy
    if not (np.isfinite(after).all() and np.isfinite(energy)):
        return Outcome(residues, energy_before=energy_before)
    rmsd, inverted, turned = changes(dynamics.file.topology, before, after)
    return Outcome(
        residues,
        finite=True,
        temperature_k=float(temperatures.mean()),
        energy_before=energy_before,
        energy_after=energy,
        rmsd_nm=rmsd,
        bonds_within_tolerance=dynamics.sound_bonds(after),
        centres_inverted=inverted,
        peptides_turned=turned,
    )


def table(outcomes: dict[str, Outcome]) -> str:
    """Write a Markdown table of all structures, and how many are stable."""
    lines = [f"| {' | '.join(TITLES)} |", "| --- " * len(TITLES) + "|"]
    for name, outcome in outcomes.items():
        if outcome.refused is None:
            cells = [format(getattr(outcome, column), form) for column, form in COLUMNS.items()]
            verdict = "yes" if outcome.stable else "no" if outcome.finite else "no: not finite"
        else:
            cells = [str(outcome.residues), *["-"] * (len(COLUMNS) - 1)]
            verdict = f"refused: {outcome.refused}"
        lines.append(f"| {' | '.join([name, *cells, verdict])} |")
    stable = sum(outcome.stable for outcome in outcomes.values())
    refused = sum(outcome.refused is not None for outcome in outcomes.values())
    lines.append(f"\n{stable} of {len(outcomes)} structures are stable, {refused} were refused.")
    return "\n".join(lines)


def structures(paths: Sequence[Path], longest: int) -> list[Path]:
    """List the files with at most `longest` residues, smallest first."""
    files = [file for path in paths for file in (sorted(path.glob("*.pdb*")) if path.is_dir() else [path])]
    sizes = {file: len(c_alphas_of(file)) for file in files}
    return sorted((file for file in files if 0 < sizes[file] <= longest), key=sizes.__getitem__)


def read_outcomes(path: Path, settings: dict[str, float]) -> dict[str, Outcome]:
    """Read what an earlier run with the same settings found."""
    if not path.exists():
        return {}
    known = json.loads(path.read_text())
    if known["settings"] != settings:
        raise SystemExit(f"{path}: is of a run with other settings; name another file with --json")
    return {name: Outcome(**values) for name, values in known["structures"].items()}


def write_outcomes(path: Path, settings: dict[str, float], outcomes: dict[str, Outcome]) -> None:
    """Replace the file as a whole."""
    results = {"settings": settings, "structures": {name: asdict(known) for name, known in outcomes.items()}}
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    temporary.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("structures", type=Path, nargs="+", help="PDB files, or folders of them")
    parser.add_argument("--longest", type=int, default=200, help="residues of the largest structure taken")
    parser.add_argument("--iterations", type=int, default=200, help="of the minimisation")
    parser.add_argument("--picoseconds", type=float, default=10.0, help="of dynamics")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/results/stability.json"), help="file of results"
    )
    options = parser.parse_args(arguments)
    settings = {"iterations": options.iterations, "picoseconds": options.picoseconds}
    outcomes = read_outcomes(options.json, settings)
    for path in structures(options.structures, options.longest):
        name = path.name.split(".")[0]
        if name not in outcomes:
            outcomes[name] = judge(path, options.iterations, options.picoseconds)
            write_outcomes(options.json, settings, outcomes)
            print(f"{name}: {'stable' if outcomes[name].stable else 'not stable'}", file=sys.stderr)
    print(table(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
