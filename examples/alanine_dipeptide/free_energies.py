"""Free energies of the states of alanine dipeptide: a coarse-grained simulation beside the atoms'.

    python free_energies.py enhanced.dcd beads_1.dcd beads_2.dcd ... --figure surfaces.png

The first trajectory is of all atoms; if it is biased, the logarithms of its weights lie beside it
(``enhanced.log_weights.npy``, from `simulate.py --flatten`). The others are of the six beads, whose torsions
include phi and psi. Free energies are relative to the first state; errors are those of resampled blocks.
"""

import argparse
from pathlib import Path

import mdtraj
import numpy as np

BOLTZMANN = 8.314462618e-3
ATOM_TORSIONS = [[4, 6, 8, 14], [6, 8, 14, 16]]
BEAD_TORSIONS = [[0, 1, 2, 4], [1, 2, 4, 5]]
BLOCKS, DRAWS = 20, 1000
STATES = ("beta", "alpha R", "phi > 0, extended", "alpha L")


def states_of(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Number the state of each frame, from angles in degrees."""
    right = (phi > 0) & (phi < 130)
    helical = np.where(right, (psi > -90) & (psi < 110), (psi > -120) & (psi < 60))
    return 2 * right + helical


def free_energies(states: np.ndarray, weights: np.ndarray, kt: float) -> tuple[np.ndarray, np.ndarray]:
    """Free energies (kJ/mol) relative to the first state, and their standard errors."""
    counts = np.stack(
        [
            np.bincount(part, share, len(STATES))
            for part, share in zip(
                np.array_split(states, BLOCKS), np.array_split(weights, BLOCKS), strict=True
            )
        ]
    )
    generator = np.random.default_rng(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = -kt * np.log(counts[generator.integers(BLOCKS, size=(DRAWS, BLOCKS))].sum(axis=1))
        value = -kt * np.log(counts.sum(axis=0))
        relative = drawn - drawn[:, :1]
    spread = np.nanstd(np.where(np.isfinite(relative), relative, np.nan), axis=0)
    return value - value[0], spread


def draw(path: Path, sides: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Draw the free-energy surfaces in kT."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(sides), figsize=(4 * len(sides), 3.6), sharey=True, layout="constrained"
    )
    for axis, (name, (phi, psi, weights)) in zip(axes, sides.items(), strict=True):
        counts, x, y = np.histogram2d(phi, psi, 60, [(-180, 180)] * 2, weights=weights)
        with np.errstate(divide="ignore"):
            energy = -np.log(counts.T / counts.max())
        shown = axis.pcolormesh(x, y, np.where(np.isfinite(energy), energy, np.nan), vmin=0, vmax=10)
        axis.set(title=name, xlabel="phi, degrees", xticks=range(-180, 181, 90), yticks=range(-180, 181, 90))
    axes[0].set_ylabel("psi, degrees")
    figure.colorbar(shown, ax=axes, label="free energy, kT")
    figure.savefig(path, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("atoms", type=Path, help="trajectory of all atoms")
    add("beads", type=Path, nargs="+", help="trajectories of beads")
    add("--top", type=Path, default=Path("alanine_dipeptide.pdb"), help="of the atoms (%(default)s)")
    add(
        "--skip",
        type=int,
        default=100,
        metavar="FRAMES",
        help="first frames of each to leave out (%(default)s)",
    )
    add("--temperature", type=float, default=300.0, metavar="K", help="(%(default)s)")
    add("--figure", type=Path, help="PNG or PDF of the free-energy surfaces")
    arguments = parser.parse_args()

    kt = BOLTZMANN * arguments.temperature
    atoms = mdtraj.load(str(arguments.atoms), top=str(arguments.top))
    logarithms = arguments.atoms.with_suffix(".log_weights.npy")
    weights = np.exp(np.load(logarithms)) if logarithms.exists() else np.ones(len(atoms))
    sides = {"atoms": (*np.degrees(mdtraj.compute_dihedrals(atoms, ATOM_TORSIONS)).T, weights)}
    beads = [
        mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))[arguments.skip :]
        for path in arguments.beads
    ]
    angles = np.concatenate([np.degrees(mdtraj.compute_dihedrals(each, BEAD_TORSIONS)) for each in beads])
    sides["beads"] = (*angles.T, np.ones(len(angles)))
    found = {name: free_energies(states_of(phi, psi), w, kt) for name, (phi, psi, w) in sides.items()}
    print(f"{'state':20} {'atoms, kT':>16} {'beads, kT':>16} {'difference, kT':>16}")
    for row, name in enumerate(STATES):
        (first, error), (second, spread) = ((value[row] / kt, e[row] / kt) for value, e in found.values())
        print(
            f"{name:20} {first:8.2f} +- {error:4.2f} {second:8.2f} +- {spread:4.2f} {second - first:8.2f} "
            f"+- {np.hypot(error, spread):4.2f}"
        )
    if arguments.figure:
        draw(arguments.figure, sides)
        print(f"wrote {arguments.figure}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
