"""Temporal models as modules on plain tensors, for TorchScript."""

from typing import Any

import torch
from torch import Tensor, nn

from backmap.export.arguments import check_positions, check_vector
from backmap.inference.temporal import Patience
from backmap.models.counter_random import trajectory_keys
from backmap.models.temporal.model import TemporalModel
from backmap.models.temporal.watched_steps import WatchedSteps


class ExportedTemporal(nn.Module):
    """Draws frames from their beads and the previous frames, one by one or for a whole trajectory.

    Parameters
    ----------
    model : TemporalModel
        Trained model.

    Attributes
    ----------
    family, length_unit : str
        ``temporal``, and ``nm``.
    atom_names, elements, residue_names : list of str
        Name, element and residue name of each atom.
    residue_numbers : list of int
        Residue number of each atom.
    beads, atoms, previous_frames : int
        Numbers of beads, of atoms, and of previous frames that the model sees.
    frame_interval_ps : float
        Time between the frames of the training data.
    """

    bead_weights: Tensor

    def __init__(self, model: TemporalModel) -> None:
        super().__init__()
        self.steps = WatchedSteps(model, Patience().redraws)
        molecule = model.molecule
        self.family, self.length_unit = "temporal", "nm"
        self.atom_names, self.elements = list(molecule.atom_names), list(molecule.elements)
        self.residue_names = list(molecule.residue_names)
        self.residue_numbers = list(molecule.residue_numbers)
        self.beads, self.atoms = model.mapping.n_beads, molecule.n_atoms
        self.previous_frames: int = model.previous_frames
        self.frame_interval_ps: float = model.frame_interval_ps
        weights = torch.from_numpy(model.mapping.weights).to(torch.float64)
        self.register_buffer("bead_weights", weights, persistent=False)

    def forward(
        self,
        beads: Tensor,
        previous: Tensor,
        frame: int = 0,
        seed: int = 0,
        numbers: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the next frame of one or several trajectories; redraw unphysical ones as in a rollout.

        Parameters
        ----------
        beads : Tensor, (trajectories, beads, 3) float32 or float64
            In nm, on the model's device, like all other tensors.
        previous : Tensor, (trajectories, previous_frames, atoms, 3), dtype of ``beads``
            Previous frames, the newest last, from the previous call or from :meth:`seed_frames`.
        frame : int
            Number of the frame in its trajectory; it determines the random numbers.
        seed : int
            Seed of the random numbers.
        numbers : Tensor, (trajectories,) int64, optional
            Numbers of the trajectories, which determine the random numbers; from 0 by default.

        Returns
        -------
        Tensor, (trajectories, atoms, 3), dtype of ``beads``
            In nm.
        Tensor, (trajectories, previous_frames, atoms, 3), dtype of ``beads``
            ``previous`` for the next call.
        Tensor, (trajectories,) bool
            Whether each frame is physical. Unphysical frames do not affect later ones.

        Raises
        ------
        ValueError
            If an argument is invalid; the message says why. In C++ this is a ``std::exception``.
        """
        check_positions("beads", beads, [-1, self.beads, 3], self.bead_weights)
        rows = beads.shape[0]
        check_positions("previous", previous, [rows, self.previous_frames, self.atoms, 3], self.bead_weights)
        if numbers is None:
            numbers = torch.arange(rows, device=beads.device)
        check_vector("numbers", numbers, torch.int64, rows, beads)
        with torch.no_grad():
            exact = beads.double()
            origin = exact[:, :1]
            past = (previous.double() - origin.unsqueeze(1)).float()
            keys = trajectory_keys(seed, numbers, 1, torch.full_like(numbers, frame)).flatten()
            drawn = self.steps((exact - origin).float(), past, keys)
            atoms = (drawn.atoms.double() + origin).to(beads.dtype)
            past = (drawn.previous.double() + origin.unsqueeze(1)).to(beads.dtype)
            return atoms, past, ~drawn.unphysical

    @torch.jit.export
    def seed_frames(self, beads: Tensor) -> Tensor:
        """Return frames (trajectories, previous_frames, atoms, 3) to start from, given beads.

        They precede the frame of the model's library whose beads are most similar to the given ones,
        (trajectories, beads, 3).
        """
        check_positions("beads", beads, [-1, self.beads, 3], self.bead_weights)
        with torch.no_grad():
            exact = beads.double()
            origin = exact[:, :1]
            found = self.steps.seed_frames((exact - origin).float())
            return (found.double() + origin.unsqueeze(1)).to(beads.dtype)

    @torch.jit.export
    def beads_of(self, atoms: Tensor) -> Tensor:
        """Return the beads (..., beads, 3) of atoms (..., atoms, 3)."""
        return torch.matmul(self.bead_weights.to(atoms.dtype), atoms)

    @torch.jit.export
    def rollout(
        self, beads: Tensor, samples: int = 1, seed: int = 0, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Draw all frames of a trajectory, as ``backmap reconstruct`` does.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3) float32 or float64
            In nm, on the model's device.
        samples : int
            Independent rollouts.
        seed : int
            Seed of the random numbers.
        number : int
            Number of the trajectory; it determines the random numbers.

        Returns
        -------
        Tensor, (samples, frames, atoms, 3), dtype of ``beads``
            In nm.
        Tensor, (samples, frames) bool
            Whether each frame is physical.
        """
        check_positions("beads", beads, [-1, self.beads, 3], self.bead_weights)
        if samples < 1:
            raise ValueError(f"samples is {samples}; it must be at least 1")
        with torch.no_grad():
            frames = beads.shape[0]
            exact = beads.double()
            origins = exact[:, 0]
            near = (exact - origins.unsqueeze(1)).float()
            shifts = (torch.cat([origins[:1], origins[:-1]]) - origins).float()
            atoms = exact.new_empty([samples, frames, self.atoms, 3])
            physical = torch.ones([samples, frames], dtype=torch.bool, device=beads.device)
            trajectory = torch.full([1], number, dtype=torch.int64, device=beads.device)
            previous = self.steps.seed_frames(near[:1]).expand(samples, -1, -1, -1)
            for frame in range(frames):
                now = torch.full_like(trajectory, frame)
                keys = trajectory_keys(seed, trajectory, samples, now).flatten()
                drawn = self.steps(near[frame].expand(samples, -1, -1), previous + shifts[frame], keys)
                atoms[:, frame] = drawn.atoms.double() + origins[frame]
                physical[:, frame] = ~drawn.unphysical
                previous = drawn.previous
            return atoms.to(beads.dtype), physical

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the entries of the file's metadata that describe the model."""
        return {
            "atom_names": self.atom_names,
            "elements": self.elements,
            "residue_names": self.residue_names,
            "residue_numbers": self.residue_numbers,
            "bead_weights": self.bead_weights.tolist(),
            "previous_frames": self.previous_frames,
            "frame_interval_ps": self.frame_interval_ps,
        }
