"""The protein model: all heavy atoms from C-alphas, with all residues of all frames in one batch."""

from typing import Final

import torch
from torch import Tensor, nn

from backmap import chemistry
from backmap.models.beads.candidates import CANDIDATES_PER_CHOICE, choose_by_beads
from backmap.models.beads.evidence import BeadEvidence
from backmap.models.beads.evidence import of_samples as beads_of_samples
from backmap.models.chain import Chain
from backmap.models.checkpoint import Checkpoint
from backmap.models.configuration import config_from_dict
from backmap.models.counter_random import uniform
from backmap.models.protein.backbone import Backbone, BackboneBuilder, chain_ends
from backmap.models.protein.config import ProteinConfig
from backmap.models.protein.disulfides import Disulfides
from backmap.models.protein.given_atoms import (
    Given,
    keep_given,
    of_samples,
    of_sites,
    usable,
)
from backmap.models.protein.obstacles import Obstacles
from backmap.models.protein.obstacles import of_samples as obstacles_of_samples
from backmap.models.protein.packing import Packer
from backmap.models.protein.peptide_evidence import BetaEvidence, measured_angle
from backmap.models.protein.peptide_planes import (
    EncodedPeptides,
    PeptideFrames,
    PeptidePlaneNetwork,
)
from backmap.models.protein.side_chains import (
    CBetaGeometry,
    GivenSideChains,
    SideChainGeometry,
    SideChainNetwork,
    take_sites,
)


class ProteinModel(nn.Module):
    """Draws all heavy atoms of proteins from C-alpha positions.

    Parameters
    ----------
    config : ProteinConfig
        Sizes of the networks.
    peptide_planes : PeptidePlaneNetwork, optional
        Trained network; a new one by default.
    side_chains : SideChainNetwork, optional
        Trained network; a new one by default.
    """

    # Purposes of the random numbers, see :func:`backmap.models.counter_random.uniform`.
    peptide_stream: Final = 0
    end_stream: Final = 1
    torsion_stream: Final = 2
    candidate_stream: Final = 3
    packing_stream: Final = 4
    disulfide_stream: Final = 5
    bead_stream: Final = 8

    candidates_per_choice: Final = CANDIDATES_PER_CHOICE

    def __init__(
        self,
        config: ProteinConfig,
        peptide_planes: PeptidePlaneNetwork | None = None,
        side_chains: SideChainNetwork | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.peptide_planes = peptide_planes or PeptidePlaneNetwork(config.peptide_planes)
        self.side_chains = side_chains or SideChainNetwork(config.side_chains)
        self.backbone = BackboneBuilder()
        self.c_beta = CBetaGeometry()
        self.geometry = SideChainGeometry()
        self.beta_evidence = BetaEvidence()
        self.given_side_chains = GivenSideChains()
        self.disulfides = Disulfides()
        self.packer = Packer(config.packing)
        self.candidates, self.sweeps = config.packing.candidates, config.packing.sweeps

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "ProteinModel":
        """Create the model of a checkpoint.

        Raises
        ------
        InputError
            If weights and configuration do not match.
        """
        config = config_from_dict(ProteinConfig, checkpoint.config)
        model = checkpoint.build(lambda: cls(config))
        checkpoint.load_weights(model)
        return model

    def draw(
        self,
        c_alpha: Tensor,
        chain: Chain,
        keys: Tensor,
        given: Given | None = None,
        box: Tensor | None = None,
        disulfides: Tensor | None = None,
        beads: BeadEvidence | None = None,
        obstacles: Obstacles | None = None,
    ) -> Tensor:
        """Draw structures.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3) or (samples, frames, residues, 3) float32
            In nm; with a sample dimension if they differ between samples.
        chain : Chain
            The sequence.
        keys : Tensor, (samples, frames) int64
            Random streams, from :func:`backmap.models.counter_random.stream_keys`.
        given : Given, optional
            Known atoms. They are returned unchanged, and the others are built to fit them.
        box : Tensor, (frames, 3, 3) float32, optional
            Vectors of periodic boxes in nm, as rows, in reduced form: atoms see periodic images. Molecules
            must be whole.
        disulfides : Tensor, (bonds, 2) int64, optional
            Known disulfide bonds, the lower residue first. A cysteine paired with itself is known to be free.
            The model decides about all others.
        beads : BeadEvidence, optional
            Beads of the same frames; side chains are drawn by how well they explain them.
        obstacles : Obstacles, optional
            Sites of other molecules in the same frames.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3)
            Atoms in nm in the slots of :mod:`backmap.chemistry`. OXT exists where a residue has no bonded
            successor and is zero elsewhere.
        """
        shape = keys.shape
        if c_alpha.dim() == 4:  # each sample is a frame
            if given is not None:
                raise ValueError("given atoms need the same C-alphas in all samples")
            if box is not None:
                box = box.repeat(shape[0], 1, 1)
            if beads is not None:
                beads = beads_of_samples(beads, shape[0])
            if obstacles is not None:
                obstacles = obstacles_of_samples(obstacles, shape[0])
            c_alpha, keys = c_alpha.flatten(0, 1), keys.flatten().unsqueeze(0)
        if given is not None:
            given = self.usable(given, chain)
        backbone = self.draw_backbone(c_alpha, chain, keys, given, box, beads)
        if given is not None:
            given = of_samples(given, keys.shape[0])
        if box is not None:
            box = box.repeat(keys.shape[0], 1, 1)
        if beads is not None:
            beads = beads_of_samples(beads, keys.shape[0])
        if obstacles is not None:
            obstacles = obstacles_of_samples(obstacles, keys.shape[0])
        side_chains = self._draw_side_chains(backbone, chain, keys, given, box, disulfides, beads, obstacles)
        atoms = torch.cat([backbone.atoms, side_chains, backbone.terminal_oxygen.unsqueeze(2)], dim=2)
        if given is not None:
            atoms = keep_given(given, atoms, 0, atoms.shape[2])
        return atoms.unflatten(0, shape)

    def usable(self, given: Given, chain: Chain) -> Given | None:
        """Return the given atoms that the residues have, if there are any besides the C-alphas."""
        known = usable(given, self.given_side_chains.atom_mask, chain)
        return known if bool(known.present.any()) else None

    def weigh_evidence(
        self, encoded: EncodedPeptides, frames: PeptideFrames, c_alpha: Tensor, chain: Chain, given: Given
    ) -> EncodedPeptides:
        """Return the peptides with the information on their angles from given atoms.

        Peptides with a given C, O or N have the angle that best fits these atoms. The network's probability
        of that angle, including the penalties on N-CA-C, phi and psi, gives information on the previous
        peptide. So does a given CB on the peptides on both sides.

        Parameters
        ----------
        encoded : EncodedPeptides
            Features of the network.
        frames : PeptideFrames
            Frames of the peptide axes.
        c_alpha : Tensor, (frames, residues, 3)
            In nm.
        chain : Chain
            The sequence.
        given : Given
            From :meth:`usable`.
        """
        angle = measured_angle(frames, c_alpha, chain, given)
        support = self.peptide_planes.support_of_next(encoded, angle, chain)
        waves = self.peptide_planes.class_waves
        support, c_beta = self.beta_evidence(support, frames, c_alpha, chain, given, waves)
        return self.peptide_planes.inform(encoded, angle, support, c_beta)

    def draw_backbone(
        self,
        c_alpha: Tensor,
        chain: Chain,
        keys: Tensor,
        given: Given | None = None,
        box: Tensor | None = None,
        beads: BeadEvidence | None = None,
    ) -> Backbone:
        """Draw backbones for samples x frames, samples first; arguments as for :meth:`draw`."""
        samples = keys.shape[0]
        encoded, frames = self.peptide_planes.encode_all(c_alpha, chain, sites_at_once(c_alpha), box)
        uniforms = uniform(keys, self.peptide_stream, counters([chain.n_residues, 4], keys))
        if given is not None:
            encoded = self.weigh_evidence(encoded, frames, c_alpha, chain, given)
        angles = self.peptide_planes.draw_angles(encoded, chain.segments(), uniforms[..., :2])
        for rings in chain.rings():
            angles[:, :, rings] = self.peptide_planes.draw_ring_angles(encoded, rings, uniforms[..., :2])
        angles = angles.flatten(0, 1)
        frames = PeptideFrames(
            frames.axes.repeat(samples, 1, 1, 1),
            frames.distance.repeat(samples, 1),
            frames.plane.repeat(samples, 1, 1, 1),
        )
        twists = self.peptide_planes.draw_twists(frames, angles, chain, uniforms[..., 2:].flatten(0, 1))
        c_alpha = c_alpha.repeat(samples, 1, 1)
        end_uniforms = self._end_uniforms(chain, keys).flatten(0, 1)
        if given is not None:
            given = of_samples(given, samples)
        if box is not None:
            box = box.repeat(samples, 1, 1)
        if beads is not None:
            beads = beads_of_samples(beads, samples)
        return self.backbone(c_alpha, frames, angles, twists, chain, end_uniforms, given, box, beads)

    def _end_uniforms(self, chain: Chain, keys: Tensor) -> Tensor:
        """Return random numbers (samples, frames, ends, candidates, 3) for the ends of segments."""
        each = counters([self.backbone.candidates, self.backbone.uniforms], keys)
        first = torch.cat(chain_ends(chain)) * each.numel()
        return uniform(keys, self.end_stream, first[:, None, None] + each)

    def _draw_side_chains(
        self,
        backbone: Backbone,
        chain: Chain,
        keys: Tensor,
        given: Given | None,
        box: Tensor | None,
        disulfides: Tensor | None,
        beads: BeadEvidence | None,
        obstacles: Obstacles | None,
    ) -> Tensor:
        """Return side chains (samples x frames, residues, 10, 3)."""
        number = self.candidates if beads is None else self.candidates_per_choice * self.candidates
        candidates = self._draw_candidates(backbone, chain, keys, given, box, number)
        if beads is not None:
            uniforms = uniform(keys, self.bead_stream, counters([chain.n_residues], keys)).flatten(0, 1)
            candidates = choose_by_beads(candidates, backbone.atoms, beads, uniforms, self.candidates)
        if given is not None:
            candidates = self.given_side_chains.settle(candidates, backbone.atoms, chain, given)
        candidates, _ = self.disulfides(
            candidates, backbone.atoms, chain, keys.flatten(), self.disulfide_stream, given, disulfides
        )
        uniforms = uniform(keys, self.packing_stream, counters([self.sweeps, chain.n_residues], keys))
        return self.packer(candidates, backbone, chain, uniforms.flatten(0, 1), box, obstacles)

    def _draw_candidates(
        self,
        backbone: Backbone,
        chain: Chain,
        keys: Tensor,
        given: Given | None,
        box: Tensor | None,
        number: int,
    ) -> Tensor:
        """Return side chains (samples x frames, residues, candidates, 10, 3)."""
        c_beta = self.c_beta(backbone.atoms, chain.types)
        if given is not None:
            slot = chemistry.SLOT_CB
            c_beta = keep_given(given, c_beta.unsqueeze(2), slot, slot + 1).squeeze(2)
        types = chain.types.repeat(len(backbone.atoms))
        atoms, beta = backbone.atoms.flatten(0, 1), c_beta.flatten(0, 1)
        sites_given: Given | None = None
        known: Tensor | None = None
        if given is not None:
            sites_given = of_sites(given)
            known = self.given_side_chains.measure_torsions(atoms, beta, types, sites_given)
        # In a call of its own, so that the memory of sites and random numbers is free for atoms.
        torsions = self._draw_torsions(backbone.atoms, c_beta, chain, keys, known, box, number)
        return self.geometry(atoms, beta, types, torsions, sites_given).unflatten(0, c_beta.shape[:2])

    def _draw_torsions(
        self,
        backbone: Tensor,
        c_beta: Tensor,
        chain: Chain,
        keys: Tensor,
        known: Tensor | None,
        box: Tensor | None,
        number: int,
    ) -> Tensor:
        """Return torsions (samples x frames x residues, candidates, 4) in radians."""
        sites = self.side_chains.describe(backbone, c_beta, chain, box)
        types = chain.types.repeat(len(backbone))
        uniforms = self._torsion_uniforms(chain, keys, number)
        torsions = torch.zeros_like(uniforms[..., 0])
        for rows in (
            torch.nonzero(self.side_chains.has_chi[types, 0]).squeeze(-1).split(sites_at_once(backbone))
        ):
            hidden = self.side_chains.encode(take_sites(sites, rows))
            fixed = known[rows] if known is not None else None
            torsions[rows] = self.side_chains.draw(hidden, types[rows], uniforms[rows], fixed)
        return torsions

    def _torsion_uniforms(self, chain: Chain, keys: Tensor, count: int) -> Tensor:
        """Return random numbers (samples x frames x residues, candidates, 4, 2) for the torsions.

        The numbers of the candidates for the class of chi1 are evenly spaced in [0, 1), which covers rotamers
        better than independent numbers.
        """
        shape = [keys.shape[0], keys.shape[1], chain.n_residues, count, 4, 2]
        uniforms = torch.empty(shape, dtype=torch.float32, device=keys.device)
        size = sites_at_once(uniforms)
        for begin in range(0, chain.n_residues, size):  # counters take twice the memory of the numbers
            end = min(begin + size, chain.n_residues)
            each = counters([end - begin, count, 4, 2], keys) + begin * count * 8
            uniforms[:, :, begin:end] = uniform(keys, self.torsion_stream, each)
        spread = torch.arange(count, device=keys.device) / count
        first = uniform(keys, self.candidate_stream, torch.arange(chain.n_residues, device=keys.device))
        uniforms[..., 0, 0] = torch.remainder(first.unsqueeze(-1) + spread, 1.0)
        return uniforms.flatten(0, 2)


def counters(shape: list[int], like: Tensor) -> Tensor:
    """Return the flat indices of a shape, on the device of a tensor."""
    count = 1
    for size in shape:
        count *= size
    return torch.arange(count, device=like.device).view(shape)


def sites_at_once(like: Tensor) -> int:
    """Return the number of sites a network reads at once: on a CPU those that fit the cache, else all."""
    return 512 if like.device.type == "cpu" else 1 << 62
