"""Draw a condensate in its periodic box: beads as the simulation wrapped them, and the atoms of whole chains.

    python docs/figures/condensate.py

writes ``condensate.png`` beside this script, from the first frame of examples/condensate.dcd.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import mdtraj
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from trace_to_atoms import EXAMPLES, HERE, Sticks, save_small

import backmap

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#5B6770")
MARGIN_NM = 0.3
WIDTH_INCHES = 7.0
TITLE_INCHES = 0.35


def lying(positions: np.ndarray) -> np.ndarray:
    """Lay the long side of the box, z, across the picture."""
    return positions[:, [2, 0, 1]]


def add_bonds(sticks: Sticks, frame: mdtraj.Trajectory, box: np.ndarray, width: float) -> None:
    """Add all bonds in the colour of their chain, except those that the box has cut."""
    positions = lying(frame.xyz[0])
    for first, second in frame.topology.bonds:
        ends = positions[first.index], positions[second.index]
        if np.all(abs(ends[1] - ends[0]) < box / 2):
            sticks.stick(*ends, COLOURS[first.residue.chain.index], width)


def bonded(beads: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """Bond neighbours of a chain."""
    for chain in beads.topology.chains:
        atoms = list(chain.atoms)
        for first, second in zip(atoms[:-1], atoms[1:], strict=True):
            beads.topology.add_bond(first, second)
    return beads


def limits(positions: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the smallest rectangle around the box and all positions, with a margin."""
    low, high = np.minimum(positions.min(axis=0), 0), np.maximum(positions.max(axis=0), box)
    return low[:2] - MARGIN_NM, high[:2] + MARGIN_NM


def finish(
    panel: Axes, box: np.ndarray, across: tuple[float, float], up: tuple[float, float], title: str
) -> None:
    """Draw the box, set the limits of the panel, and write its title."""
    panel.add_patch(Rectangle((0, 0), *box[:2], fill=False, edgecolor="#888888", linewidth=0.8))
    panel.set_xlim(*across)
    panel.set_ylim(*up)
    panel.set_aspect("equal")
    panel.axis("off")
    panel.set_title(title, fontsize=11, color="#333333")


def main() -> None:
    """Build and draw."""
    beads = mdtraj.load(str(EXAMPLES / "condensate.dcd"), top=str(EXAMPLES / "condensate.pdb"))[0]
    atoms = backmap.reconstruct(beads, seed=0, device="cpu")
    box = lying(beads.unitcell_lengths)[0]
    corners = [limits(lying(frame.xyz[0]), box) for frame in (beads, atoms)]
    across = min(low[0] for low, _ in corners), max(high[0] for _, high in corners)
    heights = [high[1] - low[1] for low, high in corners]
    size = WIDTH_INCHES, WIDTH_INCHES * sum(heights) / (across[1] - across[0]) + 2 * TITLE_INCHES
    figure, panels = plt.subplots(
        2, 1, figsize=size, facecolor="white", height_ratios=heights, layout="constrained"
    )
    shown = (
        (bonded(beads), 1.6, f"{beads.n_atoms} beads of 8 chains, wrapped"),
        (atoms, 1.0, f"{atoms.n_atoms} heavy atoms of whole chains"),
    )
    for panel, (frame, width, title), (low, high) in zip(panels, shown, corners, strict=True):
        sticks = Sticks(panel)
        add_bonds(sticks, frame, box, width)
        depth = frame.xyz[0, :, 1]
        sticks.draw((depth.min(), depth.max()))
        finish(panel, box, across, (low[1], high[1]), title)
    save_small(figure, HERE / "condensate.png")


if __name__ == "__main__":
    main()
