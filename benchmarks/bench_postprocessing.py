"""How fast are hydrogens and a restrained minimisation of 183 residues, and how far do energies come down?

OpenMM adds hydrogens and minimises frame by frame, for comparison. Frames are built by the default model.
"""

from argparse import Namespace
from functools import partial
from pathlib import Path

import mdtraj
import numpy as np
from compare import arguments, every, measure, report
from openmm import app, unit
from openmm_reference import OpenMMReference

import backmap
from backmap.io import AtomList, source_from_mdtraj
from backmap.io.mdtraj_objects import mdtraj_topology
from backmap.postprocessing import Hydrogens
from backmap.postprocessing.minimisation import RestrainedMinimisation

EXAMPLE = Path(__file__).parents[1] / "examples" / "2bf5.pdb.gz"
NOISE_NM = 0.01
FRAMES, MINIMISED_FRAMES, COMPARED_FRAMES = 32, 8, 2
ITERATIONS = (20, 30, 50, 75, 100, 150)


def build_frames() -> tuple[AtomList, np.ndarray]:
    """Heavy atoms (frames, atoms, 3) in nm, from the example's C-alphas with noise on them."""
    structure = mdtraj.load(str(EXAMPLE))
    c_alpha = structure.atom_slice(structure.topology.select("name CA"))
    noise = np.random.default_rng(0).normal(0, NOISE_NM, (FRAMES, c_alpha.n_atoms, 3))
    beads = mdtraj.Trajectory((c_alpha.xyz + noise).astype(np.float32), c_alpha.topology)
    source = source_from_mdtraj(backmap.reconstruct(beads, device="cpu"))
    (chunk,) = source.chunks(FRAMES)
    atoms = AtomList.of_protein(source.topology, source.sites.present)
    return atoms, chunk.coordinates.astype(np.float64)


def frame_by_frame(topology: app.Topology, frames: np.ndarray) -> None:
    """What OpenMM offers."""
    for frame in frames:
        app.Modeller(topology, frame * unit.nanometer).addHydrogens(pH=7.0)


def run(options: Namespace) -> None:
    atoms, frames = build_frames()
    residues, hydrogens = len(atoms.residues), Hydrogens(atoms, frames[0])
    modeller = partial(frame_by_frame, mdtraj_topology(atoms).to_openmm(), frames[:1])
    timings = [
        measure("backmap", partial(hydrogens.apply, frames), FRAMES * residues, options),
        measure("OpenMM Modeller", modeller, residues, options).scaled(FRAMES),
    ]
    report(f"hydrogens of {FRAMES} frames of {residues} residues", timings, "residues", options)

    built = hydrogens.apply(frames[:MINIMISED_FRAMES])
    built -= built[:, :1]
    reference = OpenMMReference(hydrogens.atoms)
    timings, relaxed = [], {"as built": built}
    for iterations in ITERATIONS:
        minimisation = RestrainedMinimisation(hydrogens.atoms, iterations=iterations, device=options.device)
        name = f"{iterations} iterations"
        timings.append(
            measure(name, partial(minimisation.apply, built), MINIMISED_FRAMES * residues, options)
        )
        relaxed[name] = minimisation.apply(built)
        call, name = partial(reference.minimise, built[0], iterations), f"{name}, OpenMM"
        timings.append(measure(name, call, residues, options).scaled(MINIMISED_FRAMES))
        relaxed[name] = np.stack([reference.minimise(frame, iterations) for frame in built[:COMPARED_FRAMES]])
    report(f"minimisation of {MINIMISED_FRAMES} such frames", timings, "residues", options)
    print("\npotential energy per residue in implicit solvent, kJ/mol, of the first frames")
    for name, structures in relaxed.items():
        values = [reference.energy(frame) / residues for frame in structures[:COMPARED_FRAMES]]
        print(f"  {name:34s}" + "".join(f"{value:16,.1f}" for value in values))


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
