"""Draw what backmap does: a trace of C-alphas, the atoms built on it, and several structures of one trace.

    python docs/figures/trace_to_atoms.py

writes ``trace_to_atoms.png`` beside this script, from a folded frame of examples/ww_c_alpha.xtc.
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mdtraj
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

import backmap

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
FRAME = 2
ELEMENT_COLOURS = {"C": "#5B6770", "N": "#2F6DB5", "O": "#D1493F", "S": "#D9A514"}
TRACE_COLOUR = BACKBONE_COLOUR = "#009E73"
SAMPLE_COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9")
PAPER = np.ones(3)
FADE = 0.7
"""How far what lies farthest is blended with the paper."""


def view_of(c_alphas: np.ndarray) -> np.ndarray:
    """Give a rotation that lays the two longest directions of C-alphas (residues, 3) across the picture."""
    centred = c_alphas - c_alphas.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    if np.linalg.det(axes) < 0:
        axes[2] *= -1
    return axes.T


def faded(colour: str, depth: float) -> tuple[float, ...]:
    """Blend a colour with the paper; depth is 0 in front and 1 at the back."""
    return tuple((1 - FADE * depth) * np.array(to_rgb(colour)) + FADE * depth * PAPER)


class Sticks:
    """Sticks and balls in space, drawn from the back to the front."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.items: list[tuple[float, str, np.ndarray, str, float]] = []

    def stick(self, first: np.ndarray, second: np.ndarray, colour: str, width: float) -> None:
        """Add a stick between two points."""
        self.items.append(
            (float(first[2] + second[2]) / 2, "stick", np.array([first, second]), colour, width)
        )

    def ball(self, point: np.ndarray, colour: str, size: float) -> None:
        """Add a ball."""
        self.items.append((float(point[2]) + 0.02, "ball", point[None], colour, size))

    def draw(self, depths: tuple[float, float]) -> None:
        """Draw everything; depths are those of the back and the front."""
        back, front = depths
        for depth, kind, points, colour, size in sorted(self.items, key=lambda item: item[0]):
            shade = faded(colour, float(np.clip((front - depth) / (front - back), 0, 1)))
            edge = tuple(0.55 * np.array(shade))
            if kind == "stick":
                x, y = points[:, 0], points[:, 1]
                self.axes.plot(x, y, color=edge, linewidth=size + 1.0, solid_capstyle="butt")
                self.axes.plot(x, y, color=shade, linewidth=size, solid_capstyle="round")
            else:
                self.axes.scatter(
                    *points[0, :2], s=size, color=[shade], edgecolor=[edge], linewidth=0.5, zorder=2
                )


def add_trace(sticks: Sticks, c_alphas: np.ndarray) -> None:
    """Add a trace of beads."""
    for first, second in zip(c_alphas[:-1], c_alphas[1:], strict=True):
        sticks.stick(first, second, TRACE_COLOUR, 2.0)
    for bead in c_alphas:
        sticks.ball(bead, TRACE_COLOUR, 52)


def atom_colour(atom: mdtraj.core.topology.Atom) -> str:
    """Colour atoms by element, carbon of the backbone as the trace."""
    on_trace = atom.is_backbone and atom.element.symbol == "C"
    return BACKBONE_COLOUR if on_trace else ELEMENT_COLOURS[atom.element.symbol]


def add_atoms(sticks: Sticks, atoms: mdtraj.Topology, positions: np.ndarray) -> None:
    """Add all bonds, each half in the colour of its atom, and balls where they meet."""
    for atom in atoms.atoms:
        sticks.ball(positions[atom.index], atom_colour(atom), 13 if atom.is_backbone else 8)
    for first, second in atoms.bonds:
        middle = (positions[first.index] + positions[second.index]) / 2
        inside = first.is_backbone and second.is_backbone
        for atom in (first, second):
            sticks.stick(positions[atom.index], middle, atom_colour(atom), 2.6 if inside else 1.9)


def add_sample(sticks: Sticks, atoms: mdtraj.Topology, positions: np.ndarray, colour: str) -> None:
    """Add the side chains of one of several structures in one colour."""
    for first, second in atoms.bonds:
        if "OXT" not in (first.name, second.name) and (first.is_sidechain or second.is_sidechain):
            sticks.stick(positions[first.index], positions[second.index], colour, 0.9)


def save_small(figure: Figure, path: Path) -> None:
    """Write a PNG file of few colours, which is a quarter of the size."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, bbox_inches="tight", pad_inches=0.05)
    Image.open(picture).convert("RGB").quantize(128).save(path, optimize=True)


def main() -> None:
    """Build and draw."""
    beads = mdtraj.load(str(EXAMPLES / "ww_c_alpha.xtc"), top=str(EXAMPLES / "ww_c_alpha.pdb"))[FRAME]
    built = backmap.reconstruct(beads, samples=len(SAMPLE_COLOURS), seed=0, device="cpu")
    atoms = built[0].topology
    turn = view_of(beads.xyz[0])
    centre = beads.xyz[0].mean(axis=0)
    c_alphas = (beads.xyz[0] - centre) @ turn
    samples = [(each.xyz[0] - centre) @ turn for each in built]

    figure, panels = plt.subplots(1, 3, figsize=(10.5, 3.4), facecolor="white")
    everything = np.concatenate(samples)
    low, high = everything.min(axis=0), everything.max(axis=0)
    layers = [Sticks(panel) for panel in panels]
    add_trace(layers[0], c_alphas)
    add_atoms(layers[1], atoms, samples[0])
    for first, second in zip(c_alphas[:-1], c_alphas[1:], strict=True):
        layers[2].stick(first, second, "#9AA3A9", 2.0)
    for positions, colour in zip(samples, SAMPLE_COLOURS, strict=True):
        add_sample(layers[2], atoms, positions, colour)
    titles = (
        f"{len(c_alphas)} C-alphas",
        f"{atoms.n_atoms} heavy atoms",
        f"{len(samples)} samples",
    )
    for panel, layer, title in zip(panels, layers, titles, strict=True):
        layer.draw((low[2], high[2]))
        panel.set_xlim(low[0] - 0.1, high[0] + 0.1)
        panel.set_ylim(low[1] - 0.1, high[1] + 0.1)
        panel.set_aspect("equal")
        panel.axis("off")
        panel.set_title(title, y=-0.06, fontsize=12, color="#333333")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.07, wspace=0.08)
    for place in (1 / 3, 2 / 3):
        figure.text(
            place, 0.55, "\N{RIGHTWARDS ARROW}", ha="center", va="center", fontsize=26, color="#888888"
        )
    save_small(figure, HERE / "trace_to_atoms.png")


if __name__ == "__main__":
    main()
