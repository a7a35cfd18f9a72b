"""Choice among candidate side chains."""

import torch
from torch import Tensor


def pack_side_chains(
    candidates: Tensor,
    candidate_present: Tensor,
    backbone: Tensor,
    backbone_present: Tensor,
    radii: Tensor,
    backbone_radii: Tensor,
    following: Tensor,
    uniforms: Tensor,
    *,
    strength: float,
    box: Tensor | None = None,
    energies: Tensor | None = None,
    contacts: Tensor | None = None,
    classes: Tensor | None = None,
    backbone_classes: Tensor | None = None,
    reach: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Draw one of several side chains for each residue by Gibbs sampling of their overlaps.

    The energy of candidate k of residue i, in units of kT, is a sum over its atoms a and the atoms b of other
    residues: `strength` times max(0, radius_a + radius_b - distance)^2, and the energy of their classes at
    their distance if `contacts` are given. The candidate's own energy is added if `energies` are given. The
    atoms b belong to the currently chosen side chains of the other residues and, except for chain neighbours
    of i, to their backbones. All residues start with candidate 0. Even sweeps visit the residues in ascending
    order, odd sweeps in descending order; each visit redraws the choice, by inverse CDF, with probabilities
    proportional to exp(-energy).

    Parameters
    ----------
    candidates : Tensor (*, residues, candidates, side_slots, 3), float32 or float64
        Coordinates of the side-chain atoms of each candidate, in nm.
    candidate_present : Tensor (residues, side_slots), bool
        Side-chain atoms that exist. Residues without side-chain atoms keep candidate 0.
    backbone : Tensor (*, residues, backbone_slots, 3), dtype of `candidates`
        Coordinates of N, CA, C, O and further atoms (OXT) in any order, in nm.
    backbone_present : Tensor (*, residues, backbone_slots) or (residues, backbone_slots), bool
        Backbone atoms that exist.
    radii : Tensor (residues, side_slots), dtype of `candidates`
        Radii of the side-chain atoms, in nm.
    backbone_radii : Tensor (residues, backbone_slots), dtype of `candidates`
        Radii of the backbone atoms, in nm.
    following : Tensor (residues,), int64
        The residue after each in its chain, or -1 without one.
    uniforms : Tensor (*, sweeps, residues), dtype of `candidates`
        Random numbers in [0, 1), one per visit. Without sweeps all choices are 0.
    strength : float
        Stiffness of the overlap in kT / nm^2.
    box : Tensor (3, 3) or (*, 3, 3), dtype of `candidates`, optional
        Box vectors in nm as rows, of a periodic box in reduced form: (ax, 0, 0), (bx, by, 0), (cx, cy, cz)
        with |bx| and |cx| at most ax / 2 and |cy| at most by / 2, and ax, by, cz wider than twice the largest
        sum of two radii. Distances are then between nearest images; residues must be whole and do not meet
        their own images. No box by default.
    energies : Tensor (*, residues, candidates), dtype of `candidates`, optional
        Energies of the candidates themselves in kT. Zero by default.
    contacts : Tensor (classes, classes, knots), dtype of `candidates`, optional
        Energies in kT of an atom of a candidate (first index) and another atom, linear between knots that are
        evenly spaced in the squared distance from 0 to `reach` squared; zero beyond. None by default.
    classes : Tensor (residues, side_slots), int64, optional
        Classes of the side-chain atoms, needed with `contacts`. Atoms whose class is not an index of
        `contacts` have no contacts.
    backbone_classes : Tensor (residues, backbone_slots), int64, optional
        Classes of the backbone atoms, needed with `contacts`.
    reach : float
        Distance in nm from which contacts have no energy; the box must be wider than twice this too.

    Returns
    -------
    choice : Tensor (*, residues), int64
        The candidate chosen for each residue.
    energy : Tensor (*, residues), dtype of `candidates`
        Energy of that candidate given the final choices, in kT.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    The results have no gradient. Frames are packed independently of each other, and the same arguments give
    the same result. CPU and CUDA sum in different orders, so draws at the very edge of an interval may
    differ.
    """
    return torch.ops.backmap.pack_side_chains(
        candidates,
        candidate_present,
        backbone,
        backbone_present,
        radii,
        backbone_radii,
        following,
        uniforms,
        strength,
        box,
        energies,
        contacts,
        classes,
        backbone_classes,
        reach,
    )
