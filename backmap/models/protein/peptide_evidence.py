"""Information from given atoms: peptide angles, and the likelihood of the angles of other peptides."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backmap.chemistry import HEAVY_ATOMS, RESIDUE_NAMES, SLOT_C, SLOT_CA, SLOT_CB, SLOT_N, SLOT_O
from backmap.chemistry.ideal_geometry import bond_table, span_tables
from backmap.models.chain import Chain
from backmap.models.protein.geometry import classify_angle, normalise
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.joints import Joints
from backmap.models.protein.peptide_planes import (
    EncodedPeptides,
    PeptideEvidence,
    PeptideFrames,
    PeptidePlaneNetwork,
)

_ANGLE_DEVIATION = math.radians(4.0)
"""Standard deviation of the angles N-CA-CB and C-CA-CB, as wide as a class of peptide angles."""


def weigh_evidence(
    network: PeptidePlaneNetwork,
    encoded: EncodedPeptides,
    frames: PeptideFrames,
    c_alpha: Tensor,
    chain: Chain,
    given: Given,
) -> PeptideEvidence:
    """Return the information on peptide angles from given atoms.

    Peptides with a given C, O or N have the angle that best fits these atoms. The network's probability of
    that angle, including the penalties on N-CA-C, phi and psi, gives information on the previous peptide. A
    given CB gives information on the peptides on both sides by the angles N-CA-CB and C-CA-CB and by its
    handedness.

    Parameters
    ----------
    network : PeptidePlaneNetwork
        The trained network.
    encoded : EncodedPeptides
        Features of the network.
    frames : PeptideFrames
        Frames of the peptide axes.
    c_alpha : Tensor, (frames, residues, 3)
        In nm.
    chain : Chain
        The sequence.
    given : Given
        From :func:`usable`.
    """
    plane = frames.plane
    angle = _measured_angle(frames, c_alpha, chain, given)
    support = _support_of_next(network, encoded, angle, chain)
    to_beta = normalise(given.atoms[:, :, SLOT_CB] - c_alpha) * given.present[:, SLOT_CB, None]
    own = _turned(frames, to_beta)
    following = _turned(frames, chain.shift(to_beta, 1, 0.0, dim=1)) * chain.linked[:, None]
    to_n, to_c = _beta_cosines(chain)
    for beta, atom, ideal in (
        (own, plane[:, :, 0], to_c),
        (following, plane[:, :, 2], chain.shift(to_n, 1, 0.0)),
    ):
        cosine = _cosines(normalise(atom), beta, network.class_waves[1:])
        off = (cosine - ideal[:, None]) / (math.sin(math.radians(110.0)) * _ANGLE_DEVIATION)
        support = support - 0.5 * beta.square().sum(dim=-1, keepdim=True) * off.square()
    return PeptideEvidence(angle, support, own)


def _turned(frames: PeptideFrames, vectors: Tensor) -> Tensor:
    """Return vectors (frames, residues, 3) in the frames of the peptides."""
    return torch.matmul(frames.axes, vectors.unsqueeze(-1)).squeeze(-1)


def _measured_angle(frames: PeptideFrames, c_alpha: Tensor, chain: Chain, given: Given) -> Tensor:
    """Return the angles (frames, residues) that best fit given C, O and N; NaN where there are none."""
    ahead, present = chain.shift(given.atoms, 1, 0.0, dim=1), chain.shift(given.present, 1, False)
    total = torch.zeros_like(c_alpha)
    for atom, (atoms, there, slot) in enumerate(
        ((given.atoms, given.present, SLOT_C), (given.atoms, given.present, SLOT_O), (ahead, present, SLOT_N))
    ):
        weight = frames.plane[:, :, atom, 1] * (there[:, slot] & chain.linked)
        total += weight.unsqueeze(-1) * _turned(frames, atoms[:, :, slot] - c_alpha)
    angle = torch.atan2(total[..., 2], total[..., 1])
    return torch.where(given_peptides(chain, given), angle, torch.nan)


def given_peptides(chain: Chain, given: Given) -> Tensor:
    """Return the residues (residues,) whose C or O, or N of their bonded successor, is given."""
    own = given.present[:, SLOT_C] | given.present[:, SLOT_O]
    return chain.linked & (own | chain.shift(given.present[:, SLOT_N], 1, False))


def _support_of_next(
    network: PeptidePlaneNetwork, encoded: EncodedPeptides, angle: Tensor, chain: Chain
) -> Tensor:
    """Return the log-probability (frames, residues, classes) of the next angle, where only that is known."""
    support = angle.new_zeros(*angle.shape, network.config.classes)
    known = ~angle[0].isnan()
    rows = torch.nonzero(chain.linked & ~known & chain.shift(known, 1, False)).squeeze(-1)
    if len(rows) == 0:
        return support
    after = chain.following[rows]
    following = EncodedPeptides(*(part[:, after].unsqueeze(2) for part in encoded))
    cosine, sine = network.class_waves[1], network.class_waves[2]
    logits = network.logits(following.context, following.before, cosine, sine)
    joints = Joints(following.forms, following.kinds)
    logits = logits - network.penalty(joints, cosine, sine, network.class_waves)
    here = classify_angle(angle[:, after], network.config.classes)[:, :, None, None]
    log_probability = torch.log_softmax(logits, dim=-1)
    support[:, rows] = log_probability.gather(-1, here.expand(*logits.shape[:-1], 1)).squeeze(-1)
    return support


def _cosines(atom: Tensor, direction: Tensor, waves: Tensor) -> Tensor:
    """Return cosines (..., classes) of a direction and an atom (along, across) rotated to each class."""
    sideways = torch.matmul(direction[..., 1:], waves)
    return atom[..., :1] * direction[..., :1] + atom[..., 1:] * sideways


def _beta_cosines(chain: Chain) -> tuple[Tensor, Tensor]:
    """Return the ideal cosines of N-CA-CB and C-CA-CB, (residues,) each; for glycine, those of alanine."""
    bonds, (spans, _) = bond_table(), span_tables()
    cosines = []
    for end in (SLOT_N, SLOT_C):
        sides, long, across = bonds[:, SLOT_CA, end], bonds[:, SLOT_CA, SLOT_CB], spans[:, end, SLOT_CB]
        cosines.append(torch.from_numpy((sides**2 + long**2 - across**2) / (2 * sides * long)).float())
    of_type = torch.stack(cosines).to(chain.types.device)
    without = [index for index, name in enumerate(RESIDUE_NAMES) if "CB" not in HEAVY_ATOMS[name]]
    of_type[:, without] = of_type[:, :1]
    return of_type[0, chain.types], of_type[1, chain.types]
