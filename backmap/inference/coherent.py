"""The protein model over chunks of a trajectory, each frame drawn given the one before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import Topology
from backmap.inference.coherence import Coherence, State
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.models.protein.coherence import (
    LONG_AGO_PS,
    CoherenceRates,
    CoherentDrawer,
    CoherentState,
)
from backmap.models.protein.model import ProteinModel
from backmap.models.protein.obstacles import Obstacles, on_device

JUMP_NM = 0.25
"""Change of the distance of residues i and i + 4 from which residues i to i + 4 forget the frame before."""

_JUMP_OFFSET = 4


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
        disulfides: np.ndarray | None = None,
    ) -> None:
        self.device = torch.device(device)
        rates = CoherenceRates(coherence.temperature_kelvin, coherence.time_scale, coherence.statistics)
        self.drawer = CoherentDrawer(model.to(self.device).eval(), rates.to(self.device))
        self.chain = Chain.from_arrays(topology.residue_types, topology.chain_index, linked, self.device)
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
    ) -> tuple[Tensor, State, int]:
        """Build all heavy atoms of the next frames.

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
        frames = c_alpha if c_alpha.dim() == 3 else c_alpha[0]
        intervals, n_jumps = self._intervals(frames, times, state)
        steady = stream_keys(seed, samples, torch.zeros(1, dtype=torch.int64, device=self.device))[:, 0]
        atoms, after = self.drawer.draw(
            c_alpha,
            self.chain,
            stream_keys(seed, samples, numbers.to(self.device)),
            steady,
            intervals,
            None if state is None else self._restored(state),
            None if box is None else box.to(self.device, torch.float32),
            self.disulfides,
            None if obstacles is None else on_device(obstacles, self.device),
        )
        kept = {name: value.cpu().numpy() for name, value in after._asdict().items()}
        kept["c_alpha"] = frames[-1].cpu().numpy()
        kept["time"], kept["boxed"] = np.array(times[-1]), np.array(box is not None)
        return atoms, kept, n_jumps

    def _restored(self, state: State) -> CoherentState:
        names = CoherentState._fields
        return CoherentState(*(torch.from_numpy(state[name]).to(self.device) for name in names))

    def _intervals(self, c_alpha: Tensor, times: np.ndarray, state: State | None) -> tuple[Tensor, int]:
        """Return the time in ps since the frame before, (frames, residues), and the number of jumps.

        Nothing is remembered of a frame that is not earlier, nor by residues where the chain is folded
        differently. A frame where this is so for most residues is a jump.
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
        return torch.where(apart, LONG_AGO_PS, intervals), int(jumps.sum())

    def _refolded(self, c_alpha: Tensor) -> Tensor:
        """Return where (frames - 1, residues) distances along the chain have changed too much."""
        refolded = torch.zeros_like(c_alpha[1:, :, 0], dtype=torch.bool)
        here = torch.nonzero(self.chain.has_neighbour(_JUMP_OFFSET)).squeeze(-1)
        apart = torch.linalg.vector_norm(c_alpha[:, here + _JUMP_OFFSET] - c_alpha[:, here], dim=-1)
        changed = (apart[1:] - apart[:-1]).abs() > JUMP_NM
        for offset in range(_JUMP_OFFSET + 1):
            refolded[:, here + offset] |= changed
        return refolded
