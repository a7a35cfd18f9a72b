"""Placement of two cysteine side chains so that the bond between their sulfurs closes."""

import functools
import json
import math
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from backmap.chemistry.ideal_geometry import ideal_geometry
from backmap.models.protein.geometry import place_atom

RESOURCE = Path(__file__).with_name("disulfides.json")

POINTS = ("N", "CA", "C", "CB", "SG")
"""Atoms of each residue that define a pair's geometry."""

_FRAME = (("CA", "CB"), ("N", "CB"), ("C", "CB"))
_SIDE_CHAIN = (("CB", "SG"), ("CA", "SG"))
_ACROSS = (("SG", "SG"), ("CB", "SG"), ("SG", "CB"), ("CB", "CB"))


@functools.cache
def disulfide_statistics() -> dict:
    """Read the crystal statistics of ``python -m backmap.training.disulfides``; lengths in nm."""
    return json.loads(RESOURCE.read_text())


def displacement(origin: Tensor, target: Tensor) -> Tensor:
    """Return vectors (..., 3) between points; the only place where points of two residues are compared."""
    return target - origin


def distance(first: Tensor, second: Tensor) -> Tensor:
    """Return the distances (...) of points (..., 3)."""
    return torch.linalg.vector_norm(displacement(first, second), dim=-1)


class DisulfideClosure(nn.Module):
    """Closes disulfide bonds.

    Bonds, angles (as distances of their outer atoms) and the torsion about the bond (as the distance of the
    C-betas) are springs with the stiffness of their spread in crystal structures. Starting from the most
    promising combinations of both chi1, damped Gauss-Newton steps move C-betas and sulfurs until the springs
    are relaxed.

    Attributes
    ----------
    first, second : Tensor, (springs,) int64
        Points at the ends of each spring, ``5 * side + point``.
    incidence : Tensor, (springs, 4)
        Dependence of each spring's vector on CB and SG of both sides.
    rest, stiffness : Tensor, (springs,)
        Rest length in nm, and the inverse of its spread.
    """

    first: Tensor
    second: Tensor
    incidence: Tensor
    rest: Tensor
    stiffness: Tensor
    from_start: Tensor
    turns: Tensor
    beta: Final = POINTS.index("CB")
    sulfur: Final = POINTS.index("SG")
    points: Final = len(POINTS)
    trials: Final = 8
    iterations: Final = 8
    damping: Final = 100.0  # as if every coordinate were restrained to its position within 0.1 nm
    longest_step_nm: Final = 0.05
    spread_of_starts_nm: Final = 0.04
    kernel_nm: Final = 0.03

    def __init__(self) -> None:
        super().__init__()
        measured = disulfide_statistics()["springs"]
        _, self.length, self.angle, _ = ideal_geometry()["residues"]["CYS"]["placements"][0]
        names, ends = [], []
        for side in (0, self.points):
            for a, b in _FRAME + _SIDE_CHAIN:
                names.append(f"{a}-{b}")
                ends.append((side + POINTS.index(a), side + POINTS.index(b)))
        for a, b in _ACROSS:
            names.append("-".join(sorted((a, b))) + "'")
            ends.append((POINTS.index(a), self.points + POINTS.index(b)))
        first, second = torch.tensor(ends).T
        moving = torch.tensor([side + atom for side in (0, self.points) for atom in (self.beta, self.sulfur)])
        incidence = (second[:, None] == moving).float() - (first[:, None] == moving).float()
        rest, spread = torch.tensor([measured[name] for name in names]).T
        tables = {"first": first, "second": second, "incidence": incidence, "rest": rest}
        tables["stiffness"] = 1.0 / spread
        tables["from_start"] = torch.tensor([tuple(name.split("-")) in _FRAME for name in names])
        tables["turns"] = 2 * math.pi * torch.arange(12) / 12
        for name, table in tables.items():
            self.register_buffer(name, table.contiguous(), persistent=False)

    def forward(
        self, points: Tensor, movable: Tensor, drawn: Tensor, floor: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Close each bond in several ways.

        Parameters
        ----------
        points : Tensor, (n, 2, 5, 3)
            N, CA, C, CB, SG of both residues in nm; SG is used only where it must not move.
        movable : Tensor, (n, 2, 2) bool
            Whether CB and SG may move.
        drawn : Tensor, (n, 2, candidates, 3)
            Sulfurs in nm of side chains drawn for each residue, which show the likely torsions.
        floor : float
            Density of sulfurs that are far from all drawn ones, relative to the peak around one.

        Returns
        -------
        Tensor, (n, trials, 2, 2, 3)
            CB and SG in nm.
        Tensor, (n, trials)
            Strain: half the sum of squares of the springs' deviations in units of their spread.
        Tensor, (n, trials)
            Log-density of both sulfurs given the drawn ones.
        """
        starts = self._starts(points, movable, drawn, floor)
        closed, strain = self._relax(starts, movable)
        sulfurs = closed[:, :, :, self.sulfur].transpose(1, 2)
        return closed[:, :, :, self.beta :], strain, self._log_density(sulfurs, drawn, floor).sum(dim=1)

    def _starts(self, points: Tensor, movable: Tensor, drawn: Tensor, floor: float) -> Tensor:
        """Return points (n, trials, 2, 5, 3) with the combinations of both chi1 nearest to a bond."""
        n, c_alpha, _, beta, given = points.unsqueeze(3).unbind(dim=2)
        turns = self.turns.expand(len(points), 2, -1)
        length, angle = torch.full_like(turns, self.length), torch.full_like(turns, self.angle)
        sulfurs = place_atom(n, c_alpha, beta, length, angle, turns)
        sulfurs = torch.where(movable[:, :, 1, None, None], sulfurs, given)
        likely = self._log_density(sulfurs, drawn, floor)
        ours, theirs = sulfurs[:, 0, :, None], sulfurs[:, 1, None]
        rest = self.rest[-4:]  # the springs between the residues
        off = (distance(ours, theirs) - rest[0]).square()
        off = off + (distance(beta[:, 0, :, None], theirs) - rest[1]).square()
        off = off + (distance(ours, beta[:, 1, None]) - rest[2]).square()
        score = likely[:, 0, :, None] + likely[:, 1, None] - off / (2 * self.spread_of_starts_nm**2)
        best = score.flatten(1).topk(self.trials, dim=1).indices
        count = turns.shape[2]
        chosen = torch.stack([torch.div(best, count, rounding_mode="floor"), torch.remainder(best, count)], 1)
        starts = points.unsqueeze(1).repeat(1, self.trials, 1, 1, 1)
        index = chosen.unsqueeze(-1).expand(-1, -1, -1, 3)
        starts[:, :, :, self.sulfur] = sulfurs.gather(2, index).transpose(1, 2)
        return starts

    def _log_density(self, sulfurs: Tensor, drawn: Tensor, floor: float) -> Tensor:
        """Return the log-density (n, 2, m) of sulfurs (n, 2, m, 3) given drawn ones (n, 2, candidates, 3)."""
        apart = distance(sulfurs.unsqueeze(3), drawn.unsqueeze(2)) / self.kernel_nm
        return torch.log(floor + torch.exp(-0.5 * apart.square()).mean(dim=-1))

    def _relax(self, starts: Tensor, movable: Tensor) -> tuple[Tensor, Tensor]:
        """Return points (n, trials, 2, 5, 3) with relaxed springs, and the remaining strain."""
        flat = starts.flatten(2, 3)
        free = movable.flatten(1).to(flat.dtype).repeat_interleave(3, dim=1)[:, None, None]
        held = self.damping * torch.eye(12, dtype=flat.dtype, device=flat.device)
        rest = torch.where(self.from_start, self._springs(flat)[1], self.rest)
        for _ in range(self.iterations):
            apart, length = self._springs(flat)
            pull = (self.stiffness * (length - rest)).unsqueeze(-1)
            unit = apart * (self.stiffness / length).unsqueeze(-1)
            change = (unit.unsqueeze(3) * self.incidence.unsqueeze(-1)).flatten(3) * free
            back = change.transpose(2, 3)
            step = torch.linalg.solve(back @ change + held, back @ pull)
            step = step.squeeze(-1).clamp(-self.longest_step_nm, self.longest_step_nm).unflatten(2, (4, 3))
            moved = flat.unflatten(2, (2, self.points))
            sides = moved[:, :, :, self.beta :] - step.unflatten(2, (2, 2))
            flat = torch.cat([moved[:, :, :, : self.beta], sides], dim=3).flatten(2, 3)
        _, length = self._springs(flat)
        strain = 0.5 * (self.stiffness * (length - rest)).square().sum(dim=-1)
        return flat.unflatten(2, (2, self.points)), strain

    def _springs(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors (n, trials, springs, 3) along springs, and their lengths."""
        apart = displacement(flat[:, :, self.first], flat[:, :, self.second])
        return apart, torch.linalg.vector_norm(apart, dim=-1).clamp_min(1e-4)
