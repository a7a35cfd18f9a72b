"""C-alphas estimated from the beads of a coarse-grained model."""

from dataclasses import dataclass
from typing import Annotated, Final

import torch
from torch import Tensor, nn

from backmap.chemistry import RESIDUE_NAMES
from backmap.chemistry.bead_mapping import MOST_BEADS_PER_RESIDUE
from backmap.limits import Real, Whole
from backmap.models.beads.evidence import BeadTable, by_residue, c_alpha_is_main, columns_present
from backmap.models.beads.noise import NoiseEstimator
from backmap.models.chain import Chain
from backmap.models.checkpoint import Checkpoint
from backmap.models.configuration import Depth, Width, config_from_dict

Reach = Annotated[int, Whole(1, 16)]


@dataclass(frozen=True)
class EstimatorConfig:
    """Network that estimates C-alphas.

    Attributes
    ----------
    mapping : str
        Name of the bead mapping that it was trained for.
    mapping_digest : str
        :attr:`BeadMapping.digest` of this mapping: names do not tell what the beads are.
    columns : int
        Largest number of beads of a residue.
    reach : int
        Neighbours in the chain, on either side, whose beads the network sees.
    width, layers : int
        Sizes of the layers.
    chance_noise_nm : float
        Noise that structures without noise seem to have by chance, as their 99th percentile.
    """

    mapping: str
    mapping_digest: str
    columns: Annotated[int, Whole(1, MOST_BEADS_PER_RESIDUE)]
    reach: Reach = 3
    width: Width = 192
    layers: Depth = 2
    chance_noise_nm: Annotated[float, Real(0.0, 1.0)] = 0.0


class CAlphaEstimator(nn.Module):
    """Predicts each C-alpha, and how certain it is, from the beads around it in the chain.

    The network sees the beads of a residue and its neighbours in a frame of axes along the chain, so that its
    predictions turn and move with the beads.
    """

    unit_nm: Final = 0.3
    """Lengths enter the network in this unit."""
    least_noise_nm: Final = 1e-3
    type_width: Final = 8

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__()
        self.config = config
        window = 2 * config.reach + 1
        self.type_embedding = nn.Embedding(len(RESIDUE_NAMES) + 1, self.type_width)
        features = window * (4 * config.columns + 1 + self.type_width)
        widths = [features, *([config.width] * config.layers)]
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(before, after), nn.SiLU()]
        self.trunk = nn.Sequential(*layers, nn.Linear(config.width, 4))
        self.noise = NoiseEstimator(config.columns, config.chance_noise_nm)
        self.columns, self.reach = config.columns, config.reach

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "CAlphaEstimator":
        """Create the model of a checkpoint. Raises InputError if weights and configuration do not match."""
        config = config_from_dict(EstimatorConfig, checkpoint.config)
        model = checkpoint.build(lambda: cls(config))
        checkpoint.load_weights(model)
        return model

    def forward(self, beads: Tensor, table: BeadTable, chain: Chain) -> tuple[Tensor, Tensor]:
        """Estimate C-alphas.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3)
            In nm, molecules whole.
        table : BeadTable
            Which beads they are.
        chain : Chain
            The sequence.

        Returns
        -------
        Tensor, (frames, residues, 3)
            C-alphas in nm.
        Tensor, (frames, residues)
            Standard deviation of each coordinate in nm; zero where the C-alpha itself is the main bead.
        """
        columns = self.columns
        arranged = by_residue(beads, table, chain.n_residues, columns)
        main = arranged[:, :, 0]
        axes = chain_axes(main, chain)
        exact = c_alpha_is_main(table, chain.n_residues)
        present = columns_present(table, chain.n_residues, columns)
        types: list[Tensor] = []
        parts: list[Tensor] = []
        for offset in range(-self.reach, self.reach + 1):
            there = chain.has_neighbour(offset)
            seen = chain.shift(present, offset, 0.0, 0) & there[:, None]
            away = chain.shift(arranged, offset, 0.0, dim=1) - main[:, :, None]
            local = torch.einsum("frcx,frkx->frck", away, axes) * seen[..., None]
            flags = torch.cat([seen, (chain.shift(exact, offset, 0.0, 0) & there)[:, None]], dim=1).to(
                beads.dtype
            )
            parts += [local.flatten(2) / self.unit_nm, flags.expand(len(beads), -1, -1)]
            types.append(chain.neighbour_types(offset))
        embedded = self.type_embedding(torch.stack(types, dim=1)).flatten(1)
        parts.append(embedded.expand(len(beads), -1, -1))
        features = torch.cat(parts, dim=-1)
        found = self.trunk(features)
        offsets = torch.einsum("frk,frkx->frx", found[..., :3] * self.unit_nm, axes)
        # In double precision: its last bits depend on where in memory a number stands.
        share = nn.functional.softplus(found[..., 3].double() - 2.0).to(found.dtype)
        noise = self.least_noise_nm + self.unit_nm * share
        moved = (~exact).to(beads.dtype)
        return main + offsets * moved[:, None], noise * moved

    def estimate_noise(self, beads: Tensor, c_alpha: Tensor, table: BeadTable, chain: Chain) -> Tensor:
        """Return the noise (frames,) float64 of beads in nm; zero in frames whose beads may well be exact.

        Arguments are as for :meth:`forward`, with the estimated C-alphas (frames, residues, 3).
        """
        return self.noise.noticed(beads, c_alpha, table, chain)


def chain_axes(main: Tensor, chain: Chain) -> Tensor:
    """Return orthonormal axes (frames, residues, 3, 3) along the chain, as rows.

    The first axis leads from the bead before a residue to the bead after it, the second lies in the plane of
    the three beads. Ends of segments take the axes of the residue beside them; chains of two have axes that
    no prediction should depend on.
    """
    before, after = chain.shift(main, -1, 0.0, dim=1), chain.shift(main, 1, 0.0, dim=1)
    inner = chain.has_neighbour(-1) & chain.has_neighbour(1)
    along = torch.where(inner[:, None], after - before, torch.ones_like(main))
    out = torch.where(
        inner[:, None],
        2 * main - after - before,
        torch.roll(along, 1, dims=-1) * torch.tensor([1.0, -1.0, 0.5], dtype=main.dtype, device=main.device),
    )
    first = nn.functional.normalize(along, dim=-1, eps=1e-6)
    second = out - (out * first).sum(dim=-1, keepdim=True) * first
    second = nn.functional.normalize(second, dim=-1, eps=1e-6)
    axes = torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], dim=2)
    begins, ends = ~chain.has_neighbour(-1), ~chain.has_neighbour(1)
    axes = torch.where(begins[:, None, None], chain.shift(axes, 1, 0.0, dim=1), axes)
    return torch.where((ends & ~begins)[:, None, None], chain.shift(axes, -1, 0.0, dim=1), axes)
