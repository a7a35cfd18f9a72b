"""The protein model: C-alphas in, all heavy atoms out, every residue of every frame in one batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_SLOTS, SLOT_CB, SLOT_OXT
from backmap.models.batches import split, take
from backmap.models.chain import Chain
from backmap.models.checkpoint import Checkpoint, config_from_dict
from backmap.models.counter_random import uniform
from backmap.models.protein.backbone import (
    END_CANDIDATES,
    END_UNIFORMS,
    Backbone,
    BackboneBuilder,
    chain_ends,
)
from backmap.models.protein.config import ProteinConfig
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.packing import Packer
from backmap.models.protein.peptide_evidence import weigh_evidence
from backmap.models.protein.peptide_planes import (
    PeptideFrames,
    PeptidePlaneNetwork,
    draw_angles,
    draw_twists,
    encode_peptides,
)
from backmap.models.protein.side_chains import (
    CBetaGeometry,
    SideChainNetwork,
    draw_torsions,
    measure_given_torsions,
    place_side_chains,
    settle_side_chains,
    side_chain_sites,
)

_PEPTIDE_STREAM, _END_STREAM, _TORSION_STREAM, _CANDIDATE_STREAM, _PACKING_STREAM = range(5)


class ProteinModel(nn.Module):
    """Draws all heavy atoms of proteins from C-alpha positions.

    Parameters
    ----------
    config : ProteinConfig
        Sizes.
    peptide_planes : PeptidePlaneNetwork, optional
        Trained network; a new one by default.
    side_chains : SideChainNetwork, optional
        Trained network; a new one by default.
    """

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
        self.packer = Packer(config.packing)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> ProteinModel:
        """Make the model a checkpoint describes.

        Raises
        ------
        ValueError
            If weights and configuration do not fit.
        """
        model = cls(config_from_dict(ProteinConfig, checkpoint.config))
        checkpoint.load_weights(model)
        return model

    @torch.inference_mode()
    def draw(self, c_alpha: Tensor, chain: Chain, keys: Tensor, given: Given | None = None) -> Tensor:
        """Draw structures.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3) float32
            In nm.
        chain : Chain
            The sequence.
        keys : Tensor, (samples, frames) int64
            Random streams, from :func:`backmap.models.counter_random.stream_keys`.
        given : Given, optional
            Atoms that are known. They are returned exactly as given, and the others are built to fit them.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3)
            Atoms in nm in the slots of :mod:`backmap.chemistry`. OXT is given wherever a residue has no
            bonded successor, and zero elsewhere.
        """
        if given is not None:
            given = given.usable(chain)
            given = given if bool(given.present.any()) else None
        backbone = self._draw_backbone(c_alpha, chain, keys, given)
        if given is not None:
            given = given.of_samples(keys.shape[0])
        side_chains = self._draw_side_chains(backbone, chain, keys, given)
        shape = (len(backbone.atoms), chain.residues, ATOM_SLOTS, 3)
        atoms = c_alpha.new_zeros(shape)
        atoms[:, :, :SLOT_CB] = backbone.atoms
        atoms[:, :, SLOT_CB:SLOT_OXT] = side_chains
        atoms[:, :, SLOT_OXT] = backbone.terminal_oxygen
        if given is not None:
            atoms = given.kept_in(atoms)
        return atoms.view(*keys.shape, *shape[1:])

    def _draw_backbone(self, c_alpha: Tensor, chain: Chain, keys: Tensor, given: Given | None) -> Backbone:
        """Backbones of samples x frames, samples first."""
        network = self.peptide_planes
        encoded, frames = encode_peptides(network, c_alpha, chain, _sites_at_once(c_alpha))
        uniforms = uniform(keys, _PEPTIDE_STREAM, _counters(c_alpha, chain.residues, 4))
        evidence = None
        if given is not None:
            evidence = weigh_evidence(network, encoded, frames, c_alpha, chain, given)
        angles = draw_angles(network, encoded, chain.segments(), uniforms[..., :2], evidence).flatten(0, 1)
        ends = torch.cat(chain_ends(chain))
        draws = ends[:, None] * (END_CANDIDATES * END_UNIFORMS) + torch.arange(
            END_CANDIDATES * END_UNIFORMS, device=ends.device
        )
        end_uniforms = uniform(keys, _END_STREAM, draws).unflatten(-1, (END_CANDIDATES, END_UNIFORMS))
        samples = keys.shape[0]
        frames = PeptideFrames(frames.axes.repeat(samples, 1, 1, 1), frames.distance.repeat(samples, 1))
        deviation = math.radians(self.config.peptide_planes.twist_deviation_degrees)
        twists = draw_twists(
            frames, angles, chain, network.template, deviation, uniforms[..., 2:].flatten(0, 1)
        )
        return self.backbone(
            c_alpha.repeat(samples, 1, 1),
            frames,
            angles,
            twists,
            chain,
            end_uniforms.flatten(0, 1),
            None if given is None else given.of_samples(samples),
        )

    def _draw_side_chains(
        self, backbone: Backbone, chain: Chain, keys: Tensor, given: Given | None
    ) -> Tensor:
        """Side chains (samples x frames, residues, 10, 3)."""
        candidates = self._draw_candidates(backbone, chain, keys, given)
        if given is not None:
            candidates = settle_side_chains(candidates, backbone.atoms, chain, given)
        sweeps = _counters(candidates, self.config.packing.sweeps, chain.residues)
        return self.packer(candidates, backbone, chain, uniform(keys, _PACKING_STREAM, sweeps).flatten(0, 1))

    def _draw_candidates(self, backbone: Backbone, chain: Chain, keys: Tensor, given: Given | None) -> Tensor:
        """Side chains (samples x frames, residues, candidates, 10, 3)."""
        c_beta = self.c_beta(backbone.atoms, chain.types)
        known, kept = None, None
        if given is not None:
            c_beta = given.kept_in(c_beta.unsqueeze(2), slice(SLOT_CB, SLOT_CB + 1)).squeeze(2)
        sites = side_chain_sites(backbone.atoms, c_beta, chain, self.config.side_chains.neighbours)
        types = chain.types.repeat(len(backbone.atoms))
        uniforms = self._torsion_uniforms(chain, keys)
        atoms, beta = backbone.atoms.flatten(0, 1), c_beta.flatten(0, 1)
        if given is not None:
            kept = given.of_sites()
            known = measure_given_torsions(atoms, beta, types, kept)
        candidates = []
        size = _sites_at_once(atoms)
        for number, part in enumerate(split(sites, size)):
            span = slice(number * size, (number + 1) * size)
            hidden = self.side_chains.encode(part)
            torsions = draw_torsions(
                self.side_chains, hidden, types[span], uniforms[span], None if known is None else known[span]
            )
            here = None if kept is None else take(kept, span)
            candidates.append(place_side_chains(atoms[span], beta[span], types[span], torsions, here))
        return torch.cat(candidates).unflatten(0, c_beta.shape[:2])

    def _torsion_uniforms(self, chain: Chain, keys: Tensor) -> Tensor:
        """Random numbers (samples x frames x residues, candidates, 4, 2) of the torsions.

        The candidates' numbers for the class of chi1 are spread evenly over [0, 1), which covers the rotamers
        better than independent ones.
        """
        count = self.config.packing.candidates
        device = chain.types.device
        uniforms = uniform(keys, _TORSION_STREAM, _counters(chain.types, chain.residues, count, 4, 2))
        spread = torch.arange(count, device=device) / count
        first = uniform(keys, _CANDIDATE_STREAM, torch.arange(chain.residues, device=device))
        uniforms[..., 0, 0] = torch.remainder(first.unsqueeze(-1) + spread, 1.0)
        return uniforms.flatten(0, 2)


def _counters(like: Tensor, *shape: int) -> Tensor:
    """Number the entries of a shape."""
    count = 1
    for size in shape:
        count *= size
    return torch.arange(count, device=like.device).view(shape)


def _sites_at_once(like: Tensor) -> int:
    """Sites a network reads at once: on a CPU as many as fit the cache, elsewhere all."""
    return 512 if like.device.type == "cpu" else 2**62
