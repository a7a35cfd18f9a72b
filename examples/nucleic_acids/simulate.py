"""Simulate short DNA and RNA with OpenMM, from ideal helices: the data behind the shipped library.

    python examples/nucleic_acids/simulate.py -o simulations

writes one PDB file and one DCD file per system, in about ten minutes of one CPU core; ``--longer 10``
simulates ten times as long.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from backmap.chemistry.nucleotides import base_frame, base_letter, is_deoxy, nucleotide_atoms


@dataclass(frozen=True)
class Simulation:
    """Strands from 5' to 3', temperature in K, number of steps of 4 fs, and of those between frames."""

    strands: tuple[str, ...]
    kelvin: float
    n_steps: int
    interval: int


SIMULATIONS = {
    "dna-duplex-1": Simulation(("DG DA DT DC DA DC", "DG DT DG DA DT DC"), 300.0, 1200, 20),
    "rna-duplex-1": Simulation(("G A U C A C", "G U G A U C"), 300.0, 1200, 20),
    "dna-duplex-2": Simulation(("DC DA DG DC DA DA", "DT DT DG DC DT DG"), 330.0, 600, 15),
    "rna-duplex-2": Simulation(("C A G C A A", "U U G C U G"), 330.0, 600, 15),
    "dna-single-1": Simulation(("DA DC DG DT DT DA DG",), 350.0, 1000, 10),
    "rna-single-1": Simulation(("A C G U U A G",), 350.0, 1000, 10),
    "dna-single-2": Simulation(("DC DT DG DA DT DC DA",), 450.0, 1200, 12),
    "rna-single-2": Simulation(("C U G A U C A",), 450.0, 1200, 12),
    "dna-duplex-held-out": Simulation(("DC DG DA DT DA DG", "DC DT DA DT DC DG"), 300.0, 140, 14),
    "rna-duplex-held-out": Simulation(("C G A U A G", "C U A U C G"), 300.0, 140, 14),
    "dna-single-held-out": Simulation(("DT DG DA DC DA DT",), 320.0, 300, 20),
    "rna-single-held-out": Simulation(("U G A C A U",), 320.0, 300, 20),
}

_B_FORM = {
    "P": (8.91, 95.2, 2.08),
    "OP1": (10.20, 91.1, 1.86),
    "OP2": (8.82, 103.3, 1.29),
    "O5'": (7.73, 88.0, 1.83),
    "C5'": (7.70, 79.8, 2.77),
    "C4'": (7.59, 69.9, 2.04),
    "O4'": (6.22, 66.0, 1.83),
    "C3'": (8.20, 69.9, 0.64),
    "O3'": (8.75, 61.4, 0.25),
    "C2'": (7.04, 73.2, -0.24),
    "C1'": (5.86, 67.4, 0.47),
}
"""Radius in Angstrom, angle in degrees and height in Angstrom (Arnott and Hukins, Biochem. Biophys. Res.
Commun. 1972, 47, 1504)."""

_O2_OF_RIBOSE = (6.95, 83.0, -0.75)
_TWIST_DEGREES, _RISE_ANGSTROM = 36.0, 3.38

_A_FORM_DEGREES = {
    ("O3'<", "P", "O5'", "C5'"): -65.0,
    ("P", "O5'", "C5'", "C4'"): 175.0,
    ("O5'", "C5'", "C4'", "C3'"): 54.0,
    ("C5'", "C4'", "C3'", "O3'"): 80.0,
    ("C4'", "C3'", "O3'", "P>"): -152.0,
    ("C3'", "O3'", "P>", "O5'>"): -72.0,
    ("C1'", "C2'", "C3'", "C4'"): 37.0,
    ("O4'", "C1'", "N", "C"): -163.0,
}
"""Torsions of A-RNA; ``<`` and ``>`` are the residues before and after."""


def ideal_helix(strands: Sequence[str]) -> tuple[app.Topology, np.ndarray]:
    """Build one strand, or two that pair from end to end, as a B-form helix of heavy atoms.

    Returns
    -------
    Topology
        One chain per strand.
    ndarray, (atoms, 3)
        In nm.
    """
    topology, positions = app.Topology(), []
    for number, strand in enumerate(strands):
        chain = topology.addChain()
        names = strand.split()
        for place, name in enumerate(names):
            residue = topology.addResidue(name, chain)
            level = place if number == 0 else len(names) - 1 - place
            for atom, position in _residue_of_helix(name, place == 0).items():
                if number:
                    position = position * (1, -1, -1)
                angle = np.radians(-_TWIST_DEGREES * level)
                turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
                position = np.append(turn @ position[:2], position[2] - 0.1 * _RISE_ANGSTROM * level)
                topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue)
                positions.append(position)
    topology.createStandardBonds()
    return topology, np.array(positions)


def _residue_of_helix(name: str, first: bool) -> dict[str, np.ndarray]:
    """Return the atoms of the nucleotide at the origin of a B-form helix, in nm."""
    cylindrical = dict(_B_FORM) if is_deoxy(name) else {**_B_FORM, "O2'": _O2_OF_RIBOSE}
    if first:
        for atom in ("P", "OP1", "OP2"):
            del cylindrical[atom]
    atoms = {}
    for atom, (radius, angle, height) in cylindrical.items():
        along = np.radians(angle)
        atoms[atom] = 0.1 * np.array([radius * np.cos(along), radius * np.sin(along), height])
    base = [atom for atom in nucleotide_atoms(name)[12:] if atom]
    for atom, position in zip(base, base_frame(base_letter(name))[1:], strict=True):
        atoms[atom] = position * (-1, 1, -1)
    return atoms


def simulate(simulation: Simulation, output: Path, longer: int, seed: int) -> None:
    """Simulate one system: write ``output`` as .pdb and .dcd, and the ideal helix of DNA."""
    topology, positions = ideal_helix(simulation.strands)
    if is_deoxy(simulation.strands[0]):
        with open(output.with_name(f"{output.name}-ideal.pdb"), "w", encoding="ascii") as file:
            app.PDBFile.writeFile(topology, positions * unit.nanometer, file)
    field = app.ForceField("amber14/DNA.OL15.xml", "amber14/RNA.OL3.xml", "implicit/gbn2.xml")
    modeller = app.Modeller(topology, positions * unit.nanometer)
    modeller.addHydrogens(field, platform=_platform())
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.NoCutoff,
        constraints=app.HBonds,
        hydrogenMass=3 * unit.amu,
        implicitSolventKappa=1.0 / unit.nanometer,
    )
    steering = _steering(modeller.topology, simulation)
    for force in steering:
        system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(
        simulation.kelvin * unit.kelvin, 2.0 / unit.picosecond, 0.004 * unit.picoseconds
    )
    integrator.setRandomNumberSeed(seed)
    run = app.Simulation(modeller.topology, system, integrator, _platform(), {"Threads": "1"})
    run.context.setPositions(modeller.positions)
    run.context.setParameter("steering", 1.0)
    run.minimizeEnergy(maxIterations=100)
    integrator.setStepSize(0.002 * unit.picoseconds)
    run.context.setVelocitiesToTemperature(simulation.kelvin * unit.kelvin, seed)
    run.step(300)
    run.minimizeEnergy(maxIterations=20)
    run.context.setParameter("steering", 0.0)
    run.context.setVelocitiesToTemperature(simulation.kelvin * unit.kelvin, seed)
    integrator.setStepSize(0.004 * unit.picoseconds)
    run.step(100)
    state = run.context.getState(getPositions=True)
    with open(output.with_suffix(".pdb"), "w", encoding="ascii") as file:
        app.PDBFile.writeFile(modeller.topology, state.getPositions(), file)
    run.reporters.append(app.DCDReporter(str(output.with_suffix(".dcd")), longer * simulation.interval))
    run.step(longer * simulation.n_steps)


def _platform() -> openmm.Platform:
    return openmm.Platform.getPlatformByName("CPU")


def _steering(topology: app.Topology, simulation: Simulation) -> list[openmm.Force]:
    """Return forces that turn RNA into the A form and hold pairs together at the start."""
    torsion = openmm.CustomTorsionForce("steering*k*(1-cos(theta-theta0))")
    torsion.addGlobalParameter("steering", 1.0)
    torsion.addPerTorsionParameter("k")
    torsion.addPerTorsionParameter("theta0")
    pair = openmm.CustomBondForce("steering*k*(r-r0)^2")
    pair.addGlobalParameter("steering", 1.0)
    pair.addPerBondParameter("k")
    pair.addPerBondParameter("r0")
    chains = [list(chain.residues()) for chain in topology.chains()]
    for chain in chains:
        atoms = [{atom.name: atom.index for atom in residue.atoms()} for residue in chain]
        for place, residue in enumerate(chain):
            if is_deoxy(residue.name):
                continue
            for names, degrees in _A_FORM_DEGREES.items():
                found = [_find(atoms, place, name, residue.name) for name in names]
                if None not in found:
                    torsion.addTorsion(*found, (400.0, np.radians(degrees)))
    if len(chains) == 2:
        for one, other in zip(chains[0], reversed(chains[1]), strict=True):
            ends = [{atom.name: atom.index for atom in residue.atoms()} for residue in (one, other)]
            middle = ["N1" if base_letter(residue.name) in "AG" else "N3" for residue in (one, other)]
            pair.addBond(*(end[name] for end, name in zip(ends, middle, strict=True)), (5000.0, 0.29))
            pair.addBond(ends[0]["C1'"], ends[1]["C1'"], (5000.0, 1.05))
    return [torsion, pair]


def _find(atoms: list[dict[str, int]], place: int, name: str, residue: str) -> int | None:
    """Return the index of an atom of a torsion; None if there is no such residue or atom."""
    purine = base_letter(residue) in "AG"
    name = {"N": "N9" if purine else "N1", "C": "C4" if purine else "C2"}.get(name, name)
    place += name.endswith(">") - name.endswith("<")
    return atoms[place].get(name.rstrip("<>")) if 0 <= place < len(atoms) else None


def main() -> None:
    """Run the simulations."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("simulations"), help="folder to write to")
    parser.add_argument("--longer", type=int, default=1, help="factor on the steps, and those between frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", metavar="NAME", help="systems; all by default")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    for name in given.names or SIMULATIONS:
        simulate(SIMULATIONS[name], given.output / name, given.longer, given.seed)
        print(name, flush=True)


if __name__ == "__main__":
    main()
