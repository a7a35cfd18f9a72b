"""The protein model over chunks of a trajectory, each frame drawn given the one before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import Topology
from backmap.inference.coherence import Coherence, State
from backmap.models.beads.evidence import BeadEvidence
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.models.protein.coherence import CoherentDrawer
from backmap.models.protein.coherence_rates import LONG_AGO_PS, CoherenceRates
from backmap.models.protein.coherent_state import CoherentState
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.model import ProteinModel
from backmap.models.protein.obstacles import Obstacles, on_device
from backmap.models.wandering import fresh_time

JUMP_NM = 0.25
"""Change of the distance of residues i and i + 4 from which residues i to i + 4 forget the frame before."""

WANDERING_PS = 50.0
"""Period in which C-alphas that beads leave open take another place.

In simulations, half of the squared deviation from the estimates lasts longer than 60 ps.
"""

_JUMP_OFFSET = 4


class Passage(NamedTuple):
    """The time that passes between frames.

    Attributes
    ----------
    intervals : Tensor, (frames, residues)
        Time in ps since the frame before; very long where nothing is remembered of it.
    elapsed : Tensor, (frames,) float64
        Atomistic time in ps, in which a jump lasts longer than C-alphas remember.
    n_jumps : int
        Number of frames that do not follow the one before them.
    state : dict of str to ndarray
        For the frames that follow.
    """

    intervals: Tensor
    elapsed: Tensor
    n_jumps: int
    state: State

    def select(self, first: int, last: int) -> Passage:
        """Return the passage of frames ``first`` to ``last``; jumps and state are those of all frames."""
        return self._replace(intervals=self.intervals[first:last], elapsed=self.elapsed[first:last])


class CoherentBuilder:
    """Runs the protein model along a trajectory.

    Parameters
    ----------
    model : ProteinModel
        Trained model.
    topology : Topology
        The residues of every frame.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    coherence : Coherence
        How much is remembered.
    device : torch.device or str
        Device to compute on.
    present : ndarray, (residues, 15) bool, optional
        Atoms that are given in every frame and kept; by default C-alphas only.
    disulfides : ndarray, (bonds, 2) int64, optional
        Known disulfide bonds, as for :meth:`ProteinModel.draw`.
    """

    def __init__(
        self,
        model: ProteinModel,
        topology: Topology,
        linked: np.ndarray,
        coherence: Coherence,
        device: torch.device | str = "cpu",
        present: np.ndarray | None = None,
        disulfides: np.ndarray | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.time_scale = coherence.time_scale
        rates = CoherenceRates(coherence.temperature_kelvin, coherence.time_scale, coherence.statistics)
        self.drawer = CoherentDrawer(model.to(self.device).eval(), rates.to(self.device))
        self.chain = Chain.from_arrays(topology.residue_types, topology.chain_index, linked, self.device)
        self.present = None if present is None else torch.from_numpy(present).to(self.device)
        self.disulfides = None if disulfides is None else torch.from_numpy(disulfides).to(self.device)

    @torch.inference_mode()
    def reconstruct(
        self,
        c_alpha: Tensor,
        *,
        numbers: Tensor,
        times: np.ndarray,
        state: State | None,
        samples: int,
        seed: int,
        box: Tensor | None = None,
        obstacles: Obstacles | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, State, int]:
        """Build all heavy atoms of the next frames on their C-alphas.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3) or (samples, frames, residues, 3)
            In nm.
        numbers : Tensor, (frames,) int64
            Number of each frame in the trajectory; it determines the random numbers.
        times : ndarray, (frames,) float64
            In ps.
        state : dict of str to ndarray, optional
            From the frames before; None at the beginning.
        samples : int
            Independent structures per frame.
        seed : int
            Seed of the random numbers.
        box : Tensor, (frames, 3, 3), optional
            Vectors of periodic boxes in nm, as rows, in reduced form.
        obstacles : Obstacles, optional
            Sites of other molecules, relative to the same origin, which side chains avoid.
        given : Tensor, (frames, residues, 15, 3), optional
            The atoms of ``present`` in nm, relative to the same origin; they are returned unchanged.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3) float32
            In nm, on the model's device.
        dict of str to ndarray
            State for the next frames.
        int
            Number of frames that do not follow the one before them and were drawn on their own.
        """
        c_alpha = c_alpha.to(self.device, torch.float32)
        passage = self.passage(c_alpha if c_alpha.dim() == 3 else c_alpha[0], times, state)
        known = None
        if self.present is not None:
            assert given is not None  # the builder was created for given atoms
            known = Given(given.to(self.device, torch.float32), self.present)
        atoms, after = self.draw(
            c_alpha,
            numbers=numbers,
            passage=passage,
            state=state,
            samples=samples,
            seed=seed,
            box=box,
            obstacles=obstacles,
            given=known,
        )
        return atoms, {**after, **passage.state, "boxed": np.array(box is not None)}, passage.n_jumps

    def draw(
        self,
        c_alpha: Tensor,
        *,
        numbers: Tensor,
        passage: Passage,
        state: State | None,
        samples: int,
        seed: int,
        box: Tensor | None = None,
        obstacles: Obstacles | None = None,
        beads: BeadEvidence | None = None,
        given: Given | None = None,
    ) -> tuple[Tensor, State]:
        """Draw frames between which some time passes.

        Parameters
        ----------
        passage : Passage
            From :meth:`passage`.
        beads : BeadEvidence, optional
            Beads of the same frames; side chains are drawn by how well they explain them.
        given : Given, optional
            Known atoms, which are returned unchanged.
        c_alpha, numbers, state, samples, seed, box, obstacles
            As for :meth:`reconstruct`.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3) float32
            In nm, on the model's device.
        dict of str to ndarray
            What the next frames need to know of the atoms.
        """
        steady = stream_keys(seed, samples, torch.zeros(1, dtype=torch.int64, device=self.device))[:, 0]
        atoms, after = self.drawer.draw(
            c_alpha,
            self.chain,
            stream_keys(seed, samples, numbers.to(self.device)),
            steady,
            passage.intervals,
            None if state is None else self._restored(state),
            None if box is None else box.to(self.device, torch.float32),
            self.disulfides,
            None if obstacles is None else on_device(obstacles, self.device),
            beads,
            given,
        )
        return atoms, {name: value.cpu().numpy() for name, value in after._asdict().items()}

    def _restored(self, state: State) -> CoherentState:
        names = CoherentState._fields
        return CoherentState(*(torch.from_numpy(state[name]).to(self.device) for name in names))

    def passage(self, c_alpha: Tensor, times: np.ndarray, state: State | None) -> Passage:
        """Find the time that passes between frames.

        Nothing is remembered of a frame that is not earlier, nor by residues where the chain is folded
        differently. A frame where this is so for most residues is a jump.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3)
            C-alphas, or their estimates, in nm.
        times, state
            As for :meth:`reconstruct`.
        """
        before = times[:1] if state is None else state["time"].reshape(1)
        passed = np.diff(times, prepend=before)
        previous = c_alpha[:1] if state is None else torch.from_numpy(state["c_alpha"]).to(c_alpha)[None]
        frames = torch.cat([previous, c_alpha])
        same = (frames[1:] == frames[:-1]).flatten(1).all(dim=1).cpu().numpy()
        follows = torch.from_numpy((passed > 0) | ((passed == 0) & same)).to(c_alpha.device)
        apart = self._refolded(frames) | ~follows.unsqueeze(1)
        intervals = torch.from_numpy(np.nan_to_num(passed)).to(c_alpha).unsqueeze(1).expand(apart.shape)
        jumps = apart.float().mean(dim=1) > 0.5
        if state is None:
            jumps[0] = False
        start = 0.0 if state is None else state["elapsed"].item()
        elapsed = self._elapsed(np.nan_to_num(passed), jumps.cpu().numpy(), start)
        after = {
            "c_alpha": frames[-1].cpu().numpy(),
            "time": np.array(times[-1]),
            "elapsed": np.array(elapsed[-1]),
        }
        return Passage(
            torch.where(apart, LONG_AGO_PS, intervals),
            torch.from_numpy(elapsed).to(c_alpha.device),
            int(jumps.sum()),
            after,
        )

    def _elapsed(self, passed: np.ndarray, jumps: np.ndarray, before: float) -> np.ndarray:
        """Return the atomistic time (frames,) in ps, given that passed since the frames before and jumps."""
        elapsed = np.empty(len(passed))
        for frame, (interval, jump) in enumerate(zip(self.time_scale * passed, jumps, strict=True)):
            before = fresh_time(before, WANDERING_PS) if jump else before + float(interval)
            elapsed[frame] = before
        return elapsed

    def _refolded(self, c_alpha: Tensor) -> Tensor:
        """Return where (frames - 1, residues) distances along the chain have changed too much."""
        refolded = torch.zeros_like(c_alpha[1:, :, 0], dtype=torch.bool)
        here = torch.nonzero(self.chain.has_neighbour(_JUMP_OFFSET)).squeeze(-1)
        places = torch.arange(self.chain.n_residues, device=here.device)
        along = [self.chain.shift(places, offset, 0)[here] for offset in range(_JUMP_OFFSET + 1)]
        apart = torch.linalg.vector_norm(c_alpha[:, along[-1]] - c_alpha[:, here], dim=-1)
        changed = (apart[1:] - apart[:-1]).abs() > JUMP_NM
        for there in along:
            refolded[:, there] |= changed
        return refolded
