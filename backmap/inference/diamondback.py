"""Models that build residue by residue: all frames, samples and structures side by side."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import backmap.ops  # noqa: F401  # registers the operators
from backmap import chemistry
from backmap.chemistry import Topology
from backmap.models.chain import Chain
from backmap.models.counter_random import residue_keys, stream_keys
from backmap.models.diamondback import layout
from backmap.models.diamondback.build_order import build_order
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.diamondback.representation import (
    Sites,
    atoms_of,
    describe,
    generated_points,
    join_sites,
    pass_kinds,
    take_sites,
)
from backmap.models.normals import draw_normals
from backmap.models.protein.obstacles import Obstacles
from backmap.ops import overlapping_placement

OVERLAP_NM = 0.19
"""Atoms of different residues closer than this overlap; a disulfide bond is 0.203 nm long."""


class Traces(NamedTuple):
    """C-alphas of some frames of one structure, and the random streams of their samples.

    Attributes
    ----------
    c_alpha : Tensor, (frames, residues, 3) float32
        In nm.
    chain : Chain
        The sequence.
    keys : Tensor, (samples, frames) int64
        From :func:`backmap.models.counter_random.stream_keys`.
    """

    c_alpha: Tensor
    chain: Chain
    keys: Tensor


class DiamondbackBuilder:
    """Runs a DiAMoNDBack model on chunks of a trajectory.

    Parameters
    ----------
    model : DiamondbackModel
        Trained model.
    topology : Topology
        The residues of every frame.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    device : torch.device or str
        Device to compute on.
    ddim_steps : int
        Steps of the DDIM sampler; 0 for the published sampler.
    redraws : int, optional
        How often an overlapping residue is redrawn; by default as the model's configuration says.

    Raises
    ------
    ValueError
        If a residue is in a segment of fewer than three residues, where no local frame is defined.
    """

    def __init__(
        self,
        model: DiamondbackModel,
        topology: Topology,
        linked: np.ndarray,
        device: torch.device | str = "cpu",
        ddim_steps: int = 0,
        redraws: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.chain = Chain.from_arrays(topology.residue_types, topology.chain_index, linked, self.device)
        self.ddim_steps, self.redraws = ddim_steps, redraws
        lone = torch.nonzero(pass_kinds(self.chain) < 0).squeeze(-1)
        if len(lone):
            raise ValueError(
                f"{topology.describe(int(lone[0]))} is in a segment of fewer than three residues, which "
                "DiAMoNDBack cannot build; use the protein model"
            )

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
            Number of each frame in the trajectory; it determines the random numbers.
        samples : int
            Independent structures per frame.
        seed : int
            Seed of the random numbers.
        box : Tensor, (frames, 3, 3), optional
            Ignored: as published, DiAMoNDBack sees no images across a periodic box.
        given : Tensor, (frames, residues, 15, 3), optional
            Must be None: DiAMoNDBack builds on C-alphas only.
        obstacles : Obstacles, optional
            Must be None: DiAMoNDBack sees proteins only.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3) float32
            In nm, on the model's device.

        Raises
        ------
        ValueError
            If atoms or other molecules are given.
        """
        if given is not None:
            raise ValueError("DiAMoNDBack builds on C-alphas only and cannot keep given atoms")
        if obstacles is not None:
            raise ValueError("DiAMoNDBack sees proteins only and cannot avoid other molecules")
        keys = stream_keys(seed, samples, numbers.to(self.device))
        traces = Traces(c_alpha.to(self.device, torch.float32), self.chain, keys)
        return build_structures(self.model, [traces], self.ddim_steps, self.redraws)[0]


@torch.inference_mode()
def build_structures(
    model: DiamondbackModel, traces: Sequence[Traces], ddim_steps: int = 0, redraws: int | None = None
) -> list[Tensor]:
    """Build structures of several sequences, residue by residue, in one batch.

    Parameters
    ----------
    model : DiamondbackModel
        Trained model, on the traces' device.
    traces : sequence of Traces
        C-alphas on which to build.
    ddim_steps : int
        Steps of the DDIM sampler; 0 for the published sampler.
    redraws : int, optional
        How often an overlapping residue is redrawn; by default as the model's configuration says.

    Returns
    -------
    list of Tensor, (samples, frames, residues, 15, 3)
        In nm. OXT is present where a residue has no bonded successor, and zero elsewhere.
    """
    builds = [Build(part.c_alpha, part.chain, part.keys) for part in traces]
    attempts = 1 + (model.config.redraws if redraws is None else redraws)
    StructureBuilder(model)(builds, ddim_steps, attempts)
    return [build.result() for build in builds]


class Build:
    """The growing atoms of the frames and samples of one structure. Can be compiled by TorchScript.

    Parameters
    ----------
    c_alpha, chain, keys
        As in :class:`Traces`.
    """

    def __init__(self, c_alpha: Tensor, chain: Chain, keys: Tensor) -> None:
        self.chain = chain
        self.shape = keys.shape
        self.keys = keys.flatten()
        c_alphas = c_alpha.flatten(0, 1) if c_alpha.dim() == 4 else c_alpha.repeat(keys.shape[0], 1, 1)
        self.atoms = c_alphas.new_zeros([len(c_alphas), chain.n_residues, chemistry.ATOM_SLOTS, 3])
        self.atoms[:, :, chemistry.SLOT_CA] = c_alphas
        self.exists = atoms_of(chain.types)
        self.kind = pass_kinds(chain)
        self.turns = build_order(chain, c_alphas)
        self.targets = _targets(self.kind, self.exists)
        self.standing = torch.zeros_like(self.exists)
        self.standing[:, chemistry.SLOT_CA] = True

    def describe(self, turn: int) -> tuple[Sites, Tensor, Tensor]:
        """Return sites, frames and random streams of this turn's residues, one row per residue and frame."""
        residues = self.turns[turn]
        copies, queries = len(self.atoms), len(residues)
        residue = residues.repeat(copies)
        atoms = self.atoms.unsqueeze(1).expand(-1, queries, -1, -1, -1).flatten(0, 1)
        sites, frame = describe(atoms, self.exists.unsqueeze(0), self.chain, residue, self.kind[residue])
        return sites, frame, residue_keys(self.keys, residues).flatten()

    def place(self, turn: int, frame: Tensor, points: Tensor) -> None:
        """Write generated points; this overwrites C and O of the previous residue and N of the next."""
        target, copies = self.targets[self.turns[turn]], len(self.atoms)
        frames, local = frame.unflatten(0, (copies, -1)), points.unflatten(0, (copies, -1))
        self.atoms = overlapping_placement(self.atoms, frames, local, target)
        self.standing.view(-1)[target[target >= 0]] = True

    def overlapping(self, turn: int, nearest_nm: float) -> Tensor:
        """Return which rows (n,) of this turn have residues closer than `nearest_nm` to others."""
        slot = torch.arange(chemistry.ATOM_SLOTS, device=self.atoms.device)
        side_chain = (slot >= chemistry.SLOT_CB) & (slot < chemistry.SLOT_OXT)
        no_bonds, no_lengths = self.turns[turn].new_zeros([0, 2]), self.atoms.new_zeros([0])
        # Call the operator directly: TorchScript cannot call functions with optional keywords.
        _, clash, _ = torch.ops.backmap.structure_score(
            self.atoms,
            self.standing,
            side_chain.expand_as(self.standing).contiguous(),
            self.chain.following,
            no_bonds,
            no_lengths,
            0.1,
            nearest_nm,
        )
        return clash[:, self.turns[turn]].flatten()

    def result(self) -> Tensor:
        """Return all atoms (samples, frames, residues, 15, 3)."""
        ends = torch.nonzero(~self.chain.linked).squeeze(-1)
        self.atoms[:, ends, chemistry.SLOT_OXT] = _terminal_oxygen(self.atoms[:, ends])
        return self.atoms.unflatten(0, self.shape)


class StructureBuilder(nn.Module):
    """Builds structures turn by turn, each turn in one batch. Can be compiled by TorchScript.

    Parameters
    ----------
    model : DiamondbackModel
        Trained model.
    """

    overlap_nm: Final = OVERLAP_NM

    def __init__(self, model: DiamondbackModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, builds: list[Build], ddim_steps: int, attempts: int) -> None:
        """Build all residues, and rebuild those that overlap, with up to `attempts` attempts."""
        prepared = self.model.prepare(ddim_steps)
        for turn in range(max([len(build.turns) for build in builds] + [0])):
            working: list[Build] = []
            for build in builds:
                if turn < len(build.turns):
                    working.append(build)
            self._take_turn(working, turn, ddim_steps, attempts, prepared)

    def _take_turn(
        self, builds: list[Build], turn: int, ddim_steps: int, attempts: int, prepared: list[Tensor]
    ) -> None:
        """Build the residues of one turn, and rebuild those that overlap with earlier ones."""
        parts: list[Sites] = []
        frames: list[Tensor] = []
        streams: list[Tensor] = []
        for build in builds:
            own, frame, own_keys = build.describe(turn)
            parts.append(own)
            frames.append(frame)
            streams.append(own_keys)
        sites, keys = join_sites(parts), torch.cat(streams)
        sizes = [len(frame) for frame in frames]
        points = torch.empty_like(sites.points)
        rows = torch.arange(len(keys), device=keys.device)
        for attempt in range(attempts):
            normals = self.normals(keys[rows], attempt, 1 if ddim_steps > 0 else self.model.steps)
            points[rows] = self.model.draw(take_sites(sites, rows), normals, prepared)
            drawn = points.split(sizes)
            for number, build in enumerate(builds):
                build.place(turn, frames[number], drawn[number])
            if attempt + 1 < attempts:
                overlapping = [build.overlapping(turn, self.overlap_nm) for build in builds]
                rows = torch.nonzero(torch.cat(overlapping)).squeeze(-1)
            if len(rows) == 0:
                break

    def normals(self, keys: Tensor, attempt: int, steps: int) -> Tensor:
        """Return the random numbers (n, steps, 57) of an attempt for keys (n,)."""
        rows = torch.arange(steps, device=keys.device)
        return draw_normals(keys, attempt, rows, 3 * layout.POINTS)


def _targets(kind: Tensor, exists: Tensor) -> Tensor:
    """Return the atom (residues, 19) to which each generated point is written, -1 for none."""
    offset = torch.tensor(layout.POINT_OFFSETS, device=kind.device)
    slot = torch.tensor(layout.POINT_SLOTS, device=kind.device)
    generated = generated_points(kind.device)[kind]
    residues = torch.arange(len(kind), device=kind.device)
    where = (residues[:, None] + offset).clamp(0, len(exists) - 1)
    return torch.where(generated & exists[where, slot], where * chemistry.ATOM_SLOTS + slot, -1)


def _terminal_oxygen(ends: Tensor) -> Tensor:
    """Return OXT (n, residues, 3) of terminal residues: in the plane of CA, C and O, opposite O."""
    c_alpha, carbon = ends[:, :, chemistry.SLOT_CA], ends[:, :, chemistry.SLOT_C]
    along = torch.nn.functional.normalize(c_alpha - carbon, dim=-1)
    across = ends[:, :, chemistry.SLOT_O] - carbon
    across = torch.nn.functional.normalize(across - (across * along).sum(-1, keepdim=True) * along, dim=-1)
    turned = math.cos(layout.OXT_ANGLE) * along - math.sin(layout.OXT_ANGLE) * across
    return carbon + layout.OXT_LENGTH_NM * turned
