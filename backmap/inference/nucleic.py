"""Nucleic acids of frames: atoms are drawn from a library of windows, and fitted to the beads."""

from __future__ import annotations

import torch
from torch import Tensor

from backmap.chemistry.nucleic_mapping import NucleicLayout
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.models.counter_random import stream_keys
from backmap.models.nucleic.drawing import NucleicDrawer
from backmap.models.nucleic.fitting import NucleicFitter
from backmap.models.nucleic.library import NucleicLibrary


class NucleicBuilder:
    """Builds the nucleic acids of frames.

    Parameters
    ----------
    library : NucleicLibrary
        Known windows.
    topology : NucleicTopology
        The nucleotides of every frame.
    layout : NucleicLayout
        The beads of every frame.
    device : torch.device or str
        Device to compute on.
    """

    def __init__(
        self,
        library: NucleicLibrary,
        topology: NucleicTopology,
        layout: NucleicLayout,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self._drawer = NucleicDrawer(library.to(self.device), topology, layout, self.device)
        self._fitter = NucleicFitter(topology, layout, self.device)

    @torch.inference_mode()
    def reconstruct(
        self, beads: Tensor, *, numbers: Tensor, samples: int, seed: int, box: Tensor | None = None
    ) -> Tensor:
        """Build all heavy atoms of a chunk of frames.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3)
            In nm, chains whole.
        numbers : Tensor, (frames,) int64
            Number of each frame in the trajectory; it determines the random numbers.
        samples : int
            Independent structures per frame.
        seed : int
            Seed of the random numbers.
        box : Tensor, (frames, 3, 3), optional
            Vectors of periodic boxes in nm, as rows, in reduced form.

        Returns
        -------
        Tensor, (samples, frames, nucleotides, 23, 3) float32
            In nm, on the builder's device.
        """
        beads = beads.to(self.device, torch.float32)
        keys = stream_keys(seed, samples, numbers.to(self.device))
        drawn = self._drawer.draw(beads, keys)
        box = None if box is None else box.to(self.device, torch.float32).repeat(samples, 1, 1)
        fitted = self._fitter.fit(drawn.flatten(0, 1), beads.repeat(samples, 1, 1), box)
        return fitted.view_as(drawn)

    def image_distance(self, atoms: Tensor, beads: Tensor) -> Tensor:
        """Return how far beads (..., beads) are in nm from their image in atoms (..., nucleotides, 23, 3)."""
        return torch.linalg.vector_norm(self._fitter.image(atoms) - beads.to(atoms.device), dim=-1)

    def strained(self, atoms: Tensor) -> Tensor:
        """Return which nucleotides (..., nucleotides) of atoms have a strained bond."""
        return self._fitter.strained(atoms)
