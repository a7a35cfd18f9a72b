"""Joint selection of side chains from the candidates of each residue by their overlaps and contacts."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

import backmap.ops  # noqa: F401  # registers the operators
from backmap import chemistry
from backmap.chemistry import ATOM_MASK
from backmap.chemistry.contact_classes import CONTACT_CLASSES, N_CONTACT_CLASSES
from backmap.chemistry.residues import UNITED_RADII
from backmap.models.chain import Chain
from backmap.models.protein.backbone import Backbone
from backmap.models.protein.config import PackingConfig
from backmap.models.protein.obstacles import Obstacles


class Packer(nn.Module):
    """Chooses candidate side chains by Gibbs sampling of their overlaps and contacts.

    ``contacts`` (classes, classes, knots) are the learned energies of pairs of atoms in kT, if there are any:
    see :class:`backmap.models.protein.config.ContactConfig`.
    """

    radii: Tensor
    mask: Tensor
    classes: Tensor
    contacts: Tensor
    has_contacts: Final[bool]

    def __init__(self, config: PackingConfig) -> None:
        super().__init__()
        self.strength = config.strength_per_nm2
        self.has_contacts = config.contacts is not None
        self.reach = 0.0 if config.contacts is None else config.contacts.reach_nm
        n_knots = 0 if config.contacts is None else config.contacts.knots
        contacts = torch.zeros(N_CONTACT_CLASSES, N_CONTACT_CLASSES, n_knots)
        self.register_buffer("contacts", contacts, persistent=self.has_contacts)
        self.register_buffer("classes", torch.from_numpy(CONTACT_CLASSES), persistent=False)
        self.register_buffer("radii", torch.tensor(UNITED_RADII, dtype=torch.float32), persistent=False)
        self.register_buffer("mask", torch.from_numpy(ATOM_MASK), persistent=False)

    def forward(
        self,
        candidates: Tensor,
        backbone: Backbone,
        chain: Chain,
        uniforms: Tensor,
        box: Tensor | None = None,
        obstacles: Obstacles | None = None,
    ) -> Tensor:
        """Return the chosen side chains (frames, residues, 10, 3); arguments as for :meth:`choose`."""
        choice, _ = self.choose(candidates, backbone, chain, uniforms, box, obstacles)
        index = choice[:, :, None, None, None].expand(-1, -1, -1, candidates.shape[3], 3)
        return candidates.gather(2, index).squeeze(2)

    def minimise(
        self,
        candidates: Tensor,
        energies: Tensor,
        backbone: Backbone,
        chain: Chain,
        uniforms: Tensor,
        sharpness: Sequence[float],
        box: Tensor | None = None,
        obstacles: Obstacles | None = None,
    ) -> Tensor:
        """Return side chains (frames, residues, 10, 3) of low energy, by annealing.

        Parameters
        ----------
        candidates : Tensor, (frames, residues, candidates, 10, 3)
            Side-chain atoms in nm; the first ones are the start.
        energies : Tensor, (frames, residues, candidates)
            Energies of the candidates themselves in kT.
        backbone : Backbone
            All other atoms.
        chain : Chain
            The sequence.
        uniforms : Tensor, (frames, temperatures, sweeps, residues)
            Random numbers in [0, 1).
        sharpness : sequence of float
            Inverse temperatures, ascending.
        box : Tensor, (frames, 3, 3), optional
            Periodic boxes.
        obstacles : Obstacles, optional
            Sites of other molecules in the same frames.
        """
        for inverse, numbers in zip(sharpness, uniforms.unbind(dim=1), strict=True):
            choice, _ = self.choose(candidates, backbone, chain, numbers, box, obstacles, energies, inverse)
            # The next sweeps start from the first candidates: the chosen ones change places with them.
            order = torch.arange(candidates.shape[2], device=choice.device).repeat(*choice.shape, 1)
            order.scatter_(2, choice.unsqueeze(2), 0)
            order[:, :, 0] = choice
            energies = energies.gather(2, order)
            candidates = candidates.gather(2, order[..., None, None].expand_as(candidates))
        return candidates[:, :, 0]

    def choose(
        self,
        candidates: Tensor,
        backbone: Backbone,
        chain: Chain,
        uniforms: Tensor,
        box: Tensor | None = None,
        obstacles: Obstacles | None = None,
        energies: Tensor | None = None,
        sharpness: float = 1.0,
        with_contacts: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Choose one candidate for each residue.

        Parameters
        ----------
        candidates : Tensor, (frames, residues, candidates, 10, 3)
            Side-chain atoms in nm.
        backbone : Backbone
            All other atoms.
        chain : Chain
            The sequence.
        uniforms : Tensor, (frames, sweeps, residues)
            Random numbers in [0, 1). Without sweeps the first candidates are chosen.
        box : Tensor, (frames, 3, 3), optional
            Periodic boxes.
        obstacles : Obstacles, optional
            Sites of other molecules in the same frames.
        energies : Tensor, (frames, residues, candidates), optional
            Energies of the candidates themselves in kT; zero by default.
        sharpness : float
            Inverse temperature.
        with_contacts : bool
            Whether the learned energies of contacts count, if there are any, or only overlaps.

        Returns
        -------
        Tensor, (frames, residues) int64
            The chosen candidates.
        Tensor, (frames, residues)
            Their energies over the temperature.
        """
        radii, mask = self.radii[chain.types], self.mask[chain.types]
        fixed = torch.cat([backbone.atoms, backbone.terminal_oxygen.unsqueeze(2)], dim=2)
        fixed_present = torch.cat([torch.ones_like(mask[:, :4]), ~chain.linked[:, None]], dim=1)
        fixed_radii = torch.cat([radii[:, :4], radii[:, chemistry.SLOT_OXT :]], dim=1)
        side_mask = mask[:, chemistry.SLOT_CB : chemistry.SLOT_OXT]
        side_radii = radii[:, chemistry.SLOT_CB : chemistry.SLOT_OXT]
        side_radii = side_radii.contiguous()
        following, n_residues = chain.following, chain.n_residues
        classes = self.classes[chain.types]
        fixed_classes = torch.cat([classes[:, :4], classes[:, chemistry.SLOT_OXT :]], dim=1)
        side_classes = classes[:, chemistry.SLOT_CB : chemistry.SLOT_OXT]
        if energies is not None:
            energies = sharpness * energies
        if obstacles is not None:
            # The operator knows residues only: other sites join as residues without side chains.
            n_slots = fixed.shape[2]
            more = -(-obstacles.positions.shape[1] // n_slots)
            fixed = torch.cat([fixed, _in_rows(obstacles.positions, more, n_slots)], dim=1)
            radii_of_others = _in_rows(obstacles.radii[None, :, None], more, n_slots)[0, :, :, 0]
            fixed_present = torch.cat([fixed_present, radii_of_others > 0])
            fixed_radii = torch.cat([fixed_radii, radii_of_others])
            candidates = functional.pad(candidates, [0, 0, 0, 0, 0, 0, 0, more])
            side_mask = functional.pad(side_mask, [0, 0, 0, more])
            side_radii = functional.pad(side_radii, [0, 0, 0, more])
            following = functional.pad(following, [0, more], value=-1.0)
            side_classes = functional.pad(side_classes, [0, 0, 0, more], value=-1.0)
            fixed_classes = functional.pad(fixed_classes, [0, 0, 0, more], value=-1.0)
            uniforms = functional.pad(uniforms, [0, more])
            if energies is not None:
                energies = functional.pad(energies, [0, 0, 0, more])
        contacts: Tensor | None = None
        known: Tensor | None = None
        known_of_fixed: Tensor | None = None
        if self.has_contacts and with_contacts:
            contacts, known, known_of_fixed = sharpness * self.contacts, side_classes, fixed_classes
        # Call the operator directly: TorchScript cannot call functions with optional keywords.
        choice, energy = torch.ops.backmap.pack_side_chains(
            candidates,
            side_mask,
            fixed,
            fixed_present,
            side_radii,
            fixed_radii,
            following,
            uniforms,
            sharpness * self.strength,
            box,
            energies,
            contacts,
            known,
            known_of_fixed,
            self.reach,
        )
        return choice[:, :n_residues], energy[:, :n_residues]


def _in_rows(values: Tensor, n_rows: int, n_columns: int) -> Tensor:
    """Arrange values (frames, n, k) in rows (frames, n_rows, n_columns, k), with zeros at the end."""
    missing = n_rows * n_columns - values.shape[1]
    return functional.pad(values, [0, 0, 0, missing]).unflatten(1, (n_rows, n_columns))
