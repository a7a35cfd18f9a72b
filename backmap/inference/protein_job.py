"""Everything that determines the atoms of a protein's frames, as a value to send to other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from backmap.chemistry import RESIDUE_INDEX, Topology
from backmap.chemistry.bead_mapping import BeadLayout
from backmap.chemistry.nucleic_mapping import NucleicLayout
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.sites import Sites
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.inference.coherence import Coherence, State
from backmap.models.model_file import ModelFile

if TYPE_CHECKING:
    import torch

    from backmap.inference.frame_builder import FrameBuilder
    from backmap.physics.minimisation import FixedSites

POSITION_DECIMALS = 5
"""Decimals of positions in nm that models receive; files have 3 or 4."""


class Finishing(Protocol):
    """A step applied to built frames before they are returned."""

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Process atoms (frames, atoms, 3) in nm; frames for which this fails become NaN."""


@runtime_checkable
class FinishingBeside(Finishing, Protocol):
    """A step that heeds other molecules."""

    def apply_beside(self, coordinates: np.ndarray, beside: FixedSites | None) -> np.ndarray:
        """Process atoms as :meth:`apply` does, beside the sites of other molecules in the same frames."""


@dataclass(frozen=True)
class NucleicPart:
    """The nucleic acids of a job.

    Parameters
    ----------
    library : ModelFile
        Known windows.
    topology : NucleicTopology
        The nucleotides of every frame.
    layout : NucleicLayout
        Their beads, which follow the sites of the protein in every frame.
    finishing : sequence of Finishing
        Steps applied to their atoms, in order.
    finished_radii : ndarray, (atoms,) float64, optional
        Radii in nm of their finished atoms, if there are steps.
    """

    library: ModelFile
    topology: NucleicTopology
    layout: NucleicLayout
    finishing: Sequence[Finishing] = ()
    finished_radii: np.ndarray | None = None

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.layout.names)

    @property
    def radii(self) -> np.ndarray:
        """(atoms,) float64: radii in nm of the atoms that are written."""
        return self.topology.radii[self.topology.written]


@dataclass(frozen=True)
class ProteinJob:
    """How the frames of one protein are built, and the nucleic acids beside it.

    Parameters
    ----------
    name : str
        The protein's file, for messages.
    model : ModelFile
        Any model that builds frames independently.
    topology : Topology
        Residues of every frame.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    sites : Sites
        Positions that every frame is built from: C-alphas, or all atoms that are kept in place.
    samples : int
        Independent structures per frame.
    seed : int
        Seed of the random numbers.
    ddim_steps : int
        Steps of the DDIM sampler, for DiAMoNDBack models; 0 for the published sampler.
    redraws : int, optional
        How often DiAMoNDBack redraws an overlapping residue; by default as the model says.
    keep_given : bool
        Whether all sites are kept in place; otherwise they are C-alphas or beads.
    beads : BeadLayout, optional
        What the sites are the means of, if they are not atoms.
    estimator : ModelFile, optional
        Model that estimates C-alphas from the beads, if these are not among them.
    obstacle_radii : ndarray, (obstacles,) float64, optional
        Radii in nm of sites of other molecules, which are the last sites of every frame.
    nucleic : NucleicPart, optional
        Nucleic acids to build.
    c_alphas : CAlphaRule
        Whether C-alphas or beads are exact or noisy; with given atoms they are kept.
    coherence : Coherence, optional
        How much of a frame the next one remembers; without it, each frame is drawn on its own.
    best : bool
        Build the most probable structure instead of drawing, with the ``protein`` model.
    disulfides : ndarray, (bonds, 2) int64, optional
        Known disulfide bonds, as for :meth:`ProteinModel.draw`; not used by DiAMoNDBack.
    mirrored : bool
        Build mirror images of the frames and mirror the result, which makes D-amino acids.
    backbone_only : ndarray, (residues,) bool, optional
        Residues that the model builds as glycine; the positions of their other atoms are meaningless.
    finishing : sequence of Finishing
        Steps applied to built frames, in order.
    finished_places : ndarray, (residues, 15) int64, optional
        Index of each atom among those that the last step returns; -1 if it is not among them.
    """

    name: str
    model: ModelFile
    topology: Topology
    linked: np.ndarray
    sites: Sites
    samples: int = 1
    seed: int = 0
    ddim_steps: int = 0
    redraws: int | None = None
    keep_given: bool = False
    beads: BeadLayout | None = None
    estimator: ModelFile | None = None
    obstacle_radii: np.ndarray | None = None
    nucleic: NucleicPart | None = None
    c_alphas: CAlphaRule = CAlphaRule()
    coherence: Coherence | None = None
    best: bool = False
    disulfides: np.ndarray | None = None
    mirrored: bool = False
    backbone_only: np.ndarray | None = None
    finishing: Sequence[Finishing] = ()
    finished_places: np.ndarray | None = None

    @property
    def given(self) -> np.ndarray | None:
        """(residues, 15) bool: atoms that are given in every frame and kept in place, if any."""
        return self.sites.present if self.keep_given else None

    @property
    def model_topology(self) -> Topology:
        """The residues as the model builds them."""
        if self.backbone_only is None:
            return self.topology
        types = np.where(self.backbone_only, RESIDUE_INDEX["GLY"], self.topology.residue_types)
        return replace(self.topology, residue_types=types)

    def open(self, device: torch.device | str) -> FrameBuilder:
        """Load the model on a device.

        Raises
        ------
        InputError
            If the model cannot build this protein or is invalid, or an option does not apply to it.
        """
        from backmap.inference.frame_builder import open_frame_builder

        return open_frame_builder(self, device)


class Past(NamedTuple):
    """What coherent frames need besides their positions.

    Attributes
    ----------
    times : ndarray, (frames,) float64
        In ps.
    state : dict of str to ndarray, optional
        From the frames before; None at the beginning.
    """

    times: np.ndarray
    state: State | None


class BuiltAtoms(NamedTuple):
    """The atoms built for some frames.

    Attributes
    ----------
    atoms : ndarray, (samples, frames, atoms, 3) float32
        In nm, after all finishing steps (hydrogens, minimisation); without steps, the topology's heavy atoms.
    displacement : ndarray, (samples, frames, residues) float32
        Distance in nm of each C-alpha from its position in the input, or root mean square distance of the
        residue's beads from their image in the atoms, finished as they are.
    noise_nm : ndarray, (frames,) float32
        Standard deviation of a coordinate of the beads; 0 for C-alphas.
    strained : ndarray, (samples, frames, residues) bool
        Residues on beads with strained bonds or wrong hands, before finishing.
    cis : ndarray, (residues,) int64
        Number of structures in which the peptide before a residue other than proline is cis.
    failures : int
        Number of finishing steps that failed and were skipped.
    state : dict of str to ndarray
        For the next frames, if these are coherent.
    n_jumps : int
        Number of coherent frames that do not follow the one before them.
    strained_nucleotides : ndarray, (samples, frames, nucleotides) bool
        Nucleotides with strained bonds.
    deviation : ndarray, (frames, residues) float32, optional
        Expected deviations in nm of the residues of best guesses.
    """

    atoms: np.ndarray
    displacement: np.ndarray
    noise_nm: np.ndarray
    strained: np.ndarray
    cis: np.ndarray
    failures: int
    state: State = {}
    n_jumps: int = 0
    strained_nucleotides: np.ndarray = np.zeros((1, 1, 0), dtype=bool)
    deviation: np.ndarray | None = None
