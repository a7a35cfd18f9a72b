"""Models that build each frame independently: a chunk of frames in one batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import Topology
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.models.protein.best_guess import BestGuess, Guess
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.model import ProteinModel
from backmap.models.protein.obstacles import Obstacles, on_device


class ProteinBuilder:
    """Runs the protein model on chunks of a trajectory.

    Parameters
    ----------
    model : ProteinModel
        Trained model.
    topology : Topology
        The residues of every frame.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    device : torch.device or str
        Device to compute on.
    present : ndarray, (residues, 15) bool, optional
        Atoms that are given in every frame and kept; by default C-alphas only.
    disulfides : ndarray, (bonds, 2) int64, optional
        Known disulfide bonds, as for :meth:`ProteinModel.draw`.
    best : bool
        Build the most probable structure instead of drawing; there is one sample, whatever the seed.
    """

    def __init__(
        self,
        model: ProteinModel,
        topology: Topology,
        linked: np.ndarray,
        device: torch.device | str = "cpu",
        present: np.ndarray | None = None,
        disulfides: np.ndarray | None = None,
        best: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self._best = BestGuess(self.model) if best else None
        self.chain = Chain.from_arrays(topology.residue_types, topology.chain_index, linked, self.device)
        self.present = None if present is None else torch.from_numpy(present).to(self.device)
        self.disulfides = None if disulfides is None else torch.from_numpy(disulfides).to(self.device)

    @torch.inference_mode()
    def reconstruct(
        self,
        c_alpha: Tensor,
        *,
        numbers: Tensor,
        samples: int,
        seed: int,
        box: Tensor | None = None,
        given: Tensor | None = None,
        obstacles: Obstacles | None = None,
    ) -> Tensor:
        """Build all heavy atoms of a chunk of frames.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3) or (samples, frames, residues, 3)
            In nm.
        numbers : Tensor, (frames,) int64
            Number of each frame in the trajectory. It determines the random numbers, so that chunks of any
            size give the same atoms.
        samples : int
            Independent structures per frame.
        seed : int
            Seed of the random numbers.
        box : Tensor, (frames, 3, 3), optional
            Vectors of periodic boxes in nm, as rows, in reduced form.
        given : Tensor, (frames, residues, 15, 3), optional
            The atoms of ``present`` in nm, relative to the same origin as the C-alphas; they are returned
            unchanged. Other entries are ignored.
        obstacles : Obstacles, optional
            Sites of other molecules, relative to the same origin, which side chains avoid.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3) float32
            In nm, on the model's device.

        Raises
        ------
        ValueError
            If the builder was created for given atoms and none are given.
        """
        if self._best is not None:
            return self.guess(c_alpha, box, given, obstacles).atoms.unsqueeze(0)
        keys = stream_keys(seed, samples, numbers.to(self.device))
        c_alpha, atoms, box, obstacles = self._prepare(c_alpha, box, given, obstacles)
        return self.model.draw(c_alpha, self.chain, keys, atoms, box, self.disulfides, None, obstacles)

    @torch.inference_mode()
    def guess(
        self, c_alpha: Tensor, box: Tensor | None, given: Tensor | None, obstacles: Obstacles | None
    ) -> Guess:
        """Build the best guess of a chunk of frames; arguments as for :meth:`reconstruct`."""
        c_alpha, atoms, box, obstacles = self._prepare(c_alpha, box, given, obstacles)
        assert self._best is not None  # the builder was created for best guesses
        return self._best.build(c_alpha, self.chain, atoms, box, self.disulfides, None, obstacles)

    def _prepare(
        self, c_alpha: Tensor, box: Tensor | None, given: Tensor | None, obstacles: Obstacles | None
    ) -> tuple[Tensor, Given | None, Tensor | None, Obstacles | None]:
        """Move everything that frames are built from to the device."""
        atoms = None
        if self.present is not None:
            if given is None:
                raise ValueError("the builder was created for given atoms, but none are given")
            atoms = Given(given.to(self.device, torch.float32), self.present)
        if box is not None:
            box = box.to(self.device, torch.float32)
        if obstacles is not None:
            obstacles = on_device(obstacles, self.device)
        return c_alpha.to(self.device, torch.float32), atoms, box, obstacles
