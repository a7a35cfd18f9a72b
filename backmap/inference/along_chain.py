"""Models that build residue after residue: all frames, samples and structures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import (
    ATOM_MASK,
    ATOM_SLOTS,
    SIDE_CHAIN,
    SLOT_C,
    SLOT_CA,
    SLOT_O,
    SLOT_OXT,
    Topology,
)
from backmap.chemistry.ideal_geometry import ideal_geometry
from backmap.models.batches import concatenate, take
from backmap.models.chain import Chain
from backmap.models.counter_random import residue_keys, stream_keys
from backmap.models.diamondback.build_order import build_order
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.diamondback.representation import (
    POINT_OFFSETS,
    POINT_SLOTS,
    POINTS,
    Sites,
    describe,
    generated_points,
    pass_kinds,
)
from backmap.models.normals import draw_normals
from backmap.ops import overlapping_placement, structure_score

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


class AlongChain:
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
        Where to compute.
    ddim_steps : int
        Steps of the DDIM sampler; 0 for the published sampler.
    redraws : int, optional
        How often a residue that overlaps is drawn again; by default what the model's configuration says.

    Raises
    ------
    ValueError
        If a residue stands in a segment of fewer than three, where no local frame is defined.
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
                f"{topology.describe(int(lone[0]))} stands in a segment of fewer than three residues, which "
                "DiAMoNDBack cannot build; use the protein model"
            )

    def reconstruct(self, c_alpha: Tensor, *, numbers: Tensor, samples: int, seed: int) -> Tensor:
        """Build all heavy atoms of a chunk of frames.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3)
            In nm.
        numbers : Tensor, (frames,) int64
            Number of each frame in the trajectory, which the random numbers belong to.
        samples : int
            Independent structures for each frame.
        seed : int
            Seed of the random numbers.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3) float32
            In nm, on the model's device.
        """
        keys = stream_keys(seed, samples, numbers.to(self.device))
        traces = Traces(c_alpha.to(self.device, torch.float32), self.chain, keys)
        return build_structures(self.model, [traces], self.ddim_steps, self.redraws)[0]


@torch.inference_mode()
def build_structures(
    model: DiamondbackModel, traces: Sequence[Traces], ddim_steps: int = 0, redraws: int | None = None
) -> list[Tensor]:
    """Build structures of any sequences, residue by residue, all in one batch.

    Parameters
    ----------
    model : DiamondbackModel
        Trained model, on the traces' device.
    traces : sequence of Traces
        C-alphas to build on.
    ddim_steps : int
        Steps of the DDIM sampler; 0 for the published sampler.
    redraws : int, optional
        How often a residue that overlaps is drawn again; by default what the model's configuration says.

    Returns
    -------
    list of Tensor, (samples, frames, residues, 15, 3)
        In nm. OXT is given wherever a residue has no bonded successor, zero elsewhere.
    """
    builds = [_Build(part) for part in traces]
    attempts = 1 + (model.config.redraws if redraws is None else redraws)
    for turn in range(max((len(build.turns) for build in builds), default=0)):
        working = [build for build in builds if turn < len(build.turns)]
        _take_turn(model, working, turn, ddim_steps, attempts)
    return [build.result() for build in builds]


def _take_turn(
    model: DiamondbackModel, builds: list[_Build], turn: int, ddim_steps: int, attempts: int
) -> None:
    """Build the residues of one turn, those that overlap with what stands again."""
    described = [build.describe(turn) for build in builds]
    sites = concatenate([sites for sites, *_ in described])
    keys = torch.cat([keys for *_, keys in described])
    sizes = [len(frame) for _, frame, _ in described]
    points = torch.empty_like(sites.points)
    rows = torch.arange(len(keys), device=keys.device)
    for attempt in range(attempts):
        normals = _normals(keys[rows], attempt, 1 if ddim_steps else model.config.steps)
        points[rows] = model.draw(take(sites, rows), normals, ddim_steps)
        for build, (_, frame, _), part in zip(builds, described, points.split(sizes), strict=True):
            build.place(turn, frame, part)
        if attempt + 1 < attempts:
            rows = torch.nonzero(torch.cat([build.overlapping(turn) for build in builds])).squeeze(-1)
        if not len(rows):
            break


def _normals(keys: Tensor, attempt: int, steps: int) -> Tensor:
    """Random numbers (steps, n, 57) of an attempt for keys (n,)."""
    rows = torch.arange(steps, device=keys.device)
    return draw_normals(keys, attempt, rows, 3 * POINTS).transpose(0, 1)


class _Build:
    """The atoms of one structure's frames and samples as they grow."""

    def __init__(self, traces: Traces) -> None:
        self.chain = traces.chain
        self.shape = traces.keys.shape
        self.keys = traces.keys.flatten()
        c_alpha = traces.c_alpha.repeat(self.shape[0], 1, 1)
        self.atoms = c_alpha.new_zeros(*c_alpha.shape[:2], ATOM_SLOTS, 3)
        self.atoms[:, :, SLOT_CA] = c_alpha
        self.exists = torch.from_numpy(ATOM_MASK).to(c_alpha.device)[self.chain.types]
        self.kind = pass_kinds(self.chain)
        self.turns = build_order(self.chain, traces.c_alpha)
        self.standing = torch.zeros_like(self.exists)
        self.standing[:, SLOT_CA] = True

    def describe(self, turn: int) -> tuple[Sites, Tensor, Tensor]:
        """Sites, frames and random streams of this turn's residues; each residue has a row in each frame."""
        residues = self.turns[turn]
        copies, queries = len(self.atoms), len(residues)
        residue = residues.repeat(copies)
        atoms = self.atoms.unsqueeze(1).expand(-1, queries, -1, -1, -1).flatten(0, 1)
        sites, frame = describe(atoms, self.exists[None], self.chain, residue, self.kind[residue])
        return sites, frame, residue_keys(self.keys, residues).flatten()

    def place(self, turn: int, frame: Tensor, points: Tensor) -> None:
        """Write what was generated; C and O of the residue before and N of the one behind are overwritten."""
        residues, copies = self.turns[turn], len(self.atoms)
        target = _targets(residues, self.kind[residues], self.exists)
        self.atoms = overlapping_placement(
            self.atoms,
            frame.unflatten(0, (copies, -1)),
            points.unflatten(0, (copies, -1)),
            target,
        )
        self.standing.view(-1)[target[target >= 0]] = True

    def overlapping(self, turn: int) -> Tensor:
        """Rows (n,) bool of this turn whose residues are too close to others."""
        slot = torch.arange(ATOM_SLOTS, device=self.atoms.device)
        side_chain = ((slot >= SIDE_CHAIN.start) & (slot < SIDE_CHAIN.stop)).expand_as(self.standing)
        none = self.turns[turn].new_zeros((0, 2)), self.atoms.new_zeros(0)
        _, clash, _ = structure_score(
            self.atoms,
            side_chain.contiguous(),
            self.chain.linked,
            *none,
            present=self.standing,
            clash_distance=OVERLAP_NM,
        )
        return clash[:, self.turns[turn]].flatten()

    def result(self) -> Tensor:
        """(samples, frames, residues, 15, 3)."""
        ends = torch.nonzero(~self.chain.linked).squeeze(-1)
        self.atoms[:, ends, SLOT_OXT] = _terminal_oxygen(self.atoms[:, ends])
        return self.atoms.unflatten(0, self.shape)


def _targets(residues: Tensor, kind: Tensor, exists: Tensor) -> Tensor:
    """Atom (queries, 19) that each generated point is written to, -1 for none."""
    offset = torch.tensor(POINT_OFFSETS, device=residues.device)
    slot = torch.tensor(POINT_SLOTS, device=residues.device)
    generated = generated_points(residues.device)[kind]
    where = (residues[:, None] + offset).clamp(0, len(exists) - 1)
    return torch.where(generated & exists[where, slot], where * ATOM_SLOTS + slot, -1)


def _terminal_oxygen(ends: Tensor) -> Tensor:
    """OXT (n, residues, 3) of last residues (n, residues, 15, 3): in the plane of CA, C, O, facing O."""
    terminal = ideal_geometry()["terminal"]
    c_alpha, carbon, oxygen = ends[..., SLOT_CA, :], ends[..., SLOT_C, :], ends[..., SLOT_O, :]
    along = torch.nn.functional.normalize(c_alpha - carbon, dim=-1)
    across = oxygen - carbon
    across = torch.nn.functional.normalize(across - (across * along).sum(-1, keepdim=True) * along, dim=-1)
    angle = torch.tensor(terminal["angle CA-C-OXT"])
    return carbon + terminal["C-OXT"] * (angle.cos() * along - angle.sin() * across)
