"""A small temporal model: the previous frame laid on the beads, with noise. Stands in for a trained one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backmap.chemistry import LinearMapping, Molecule

NAMES = "H1 CH3 H2 H3 C O N H CA HA CB HB1 HB2 HB3 C O N H C H1 H2 H3".split()
DIPEPTIDE = Molecule(
    atom_names=tuple(NAMES),
    elements=tuple(name[0] for name in NAMES),
    residue_names=("ACE",) * 6 + ("ALA",) * 10 + ("NME",) * 6,
    residue_numbers=(1,) * 6 + (2,) * 10 + (3,) * 6,
    bonds=tuple((atom, atom + 1) for atom in range(len(NAMES) - 1)),
)
BEADS = LinearMapping.from_atoms((4, 6, 8, 10, 14, 16), DIPEPTIDE)
BEAD_ATOMS = list(BEADS.bead_atoms)

ANGSTROM = """
2.000 1.000 0.000  2.000 2.090 0.000  1.486 2.454 0.890  1.486 2.454 -0.890  3.427 2.641 0.000
4.391 1.877 0.000  3.555 3.970 0.000  2.733 4.556 0.000  4.853 4.614 0.000  5.408 4.316 0.890
5.661 4.221 -1.232  5.123 4.521 -2.131  6.630 4.719 -1.206  5.809 3.141 -1.241  4.713 6.129 0.000
3.601 6.653 0.000  5.846 6.835 0.000  6.737 6.359 0.000  5.846 8.284 0.000  4.819 8.648 0.000
6.360 8.648 0.890  6.360 8.648 -0.890
"""
"""An extended dipeptide."""

SHAPE_NM = np.array(ANGSTROM.split(), dtype=np.float64).reshape(-1, 3) / 10


def superpose(moving: Tensor, target: Tensor, carried: Tensor) -> Tensor:
    """Move what is carried (batch, ..., 3) as the points (batch, n, 3) move onto their target."""
    centre, goal = moving.mean(1, keepdim=True), target.mean(1, keepdim=True)
    u, _, v = torch.linalg.svd((moving - centre).transpose(1, 2) @ (target - goal))
    sign = torch.det(u @ v).sign()
    rotation = u @ torch.diag_embed(torch.stack([torch.ones_like(sign)] * 2 + [sign], -1)) @ v
    flat = carried.flatten(1, -2) - centre
    return (flat @ rotation + goal).view_as(carried)


class ToyTemporal(nn.Module):
    """Two previous frames; the newest is laid on the beads and shaken, the beads' atoms set on the beads.

    Parameters
    ----------
    spoil : function of (beads (batch, beads, 3), uniform numbers (batch, n)) giving (batch,) bool, optional
        Which draws to make unphysical.
    """

    molecule, mapping = DIPEPTIDE, BEADS
    previous_frames, uniforms_per_frame, frame_interval_ps = 2, 22 * 3, 1.0
    reach_nm = 0.4
    force_field = None

    def __init__(self, spoil=None, bad_value: float = 5.0) -> None:
        super().__init__()
        self.spoil, self.bad_value = spoil, bad_value
        self.register_buffer("shape", torch.tensor(SHAPE_NM, dtype=torch.float32))
        self.batches: list[int] = []

    def seed_frames(self, c_g: Tensor) -> Tensor:
        shape = self.shape.expand(len(c_g), -1, -1)
        placed = superpose(shape[:, BEAD_ATOMS], c_g, shape)
        return torch.stack([placed] * self.previous_frames, 1)

    def step(self, c_g: Tensor, previous: Tensor, uniform: Tensor, noise: float = 1.0) -> Tensor:
        self.batches.append(len(c_g))
        newest = previous[:, -1]
        atoms = superpose(newest[:, BEAD_ATOMS], c_g, newest) + 0.01 * noise * (uniform.view(-1, 22, 3) - 0.5)
        atoms = atoms + 0.1 * (
            superpose(self.shape[BEAD_ATOMS].expand_as(c_g), c_g, self._shapes(c_g)) - atoms
        )
        atoms[:, BEAD_ATOMS] = c_g + 0.001 * (uniform.view(-1, 22, 3)[:, :6] - 0.5)
        if self.spoil is not None:
            atoms[self.spoil(c_g, uniform), 0] = self.bad_value
        return atoms

    def _shapes(self, c_g: Tensor) -> Tensor:
        return self.shape.expand(len(c_g), -1, -1)

    def residual(self, atoms: Tensor, c_g: Tensor) -> Tensor:
        return (atoms[:, BEAD_ATOMS] - c_g).square().sum(-1).mean(-1).sqrt()

    def is_physical(self, atoms: Tensor, c_g: Tensor) -> Tensor:
        first = (atoms[:, 0] - atoms[:, 1]).norm(dim=-1)
        return (first < 0.3) & atoms.isfinite().flatten(1).all(1) & (self.residual(atoms, c_g) < 0.01)


def beads(frames: int, seed: int = 0) -> np.ndarray:
    """(frames, 6, 3) beads of a tumbling, drifting dipeptide in nm."""
    rng = np.random.default_rng(seed)
    angles = np.cumsum(rng.normal(0, 0.1, frames))
    turns = np.zeros((frames, 3, 3))
    turns[:, 0, 0] = turns[:, 1, 1] = np.cos(angles)
    turns[:, 0, 1], turns[:, 1, 0], turns[:, 2, 2] = -np.sin(angles), np.sin(angles), 1
    shaken = SHAPE_NM[BEAD_ATOMS] + rng.normal(0, 0.003, (frames, 6, 3))
    return shaken @ turns + np.cumsum(rng.normal(0, 0.02, (frames, 1, 3)), axis=0)


@dataclass(frozen=True)
class ToyFile:
    """Stands in for a model file."""

    name: str
    weights: Path
    family: str = "temporal"
    model: nn.Module | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.weights.read_bytes()).hexdigest()

    def load(self, device: object) -> nn.Module | None:
        return self.model


def install(weights: Path, model: ToyTemporal | None = None, replace=setattr) -> ToyTemporal:
    """Put the toy in the place of a trained model, whatever name is asked for."""
    import backmap.models.shipped

    model = model or ToyTemporal()
    weights.write_text("weights")
    replace(backmap.models.shipped, "require_model", lambda name: weights)
    replace(backmap.models.shipped, "read_model", lambda name: ToyFile(str(name), weights, model=model))
    return model


def main(arguments: Sequence[str]) -> int:
    """Run the command line with the toy: what a test kills."""
    from backmap.cli.main import main as command

    install(Path(arguments[0]))
    return command(arguments[1:])
