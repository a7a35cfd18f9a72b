"""Bond lengths and clashes of structures."""

import torch
from torch import Tensor


def structure_score(
    atoms: Tensor,
    side_chain: Tensor,
    following: Tensor,
    bonds: Tensor,
    reference_lengths: Tensor,
    *,
    present: Tensor | None = None,
    box: Tensor | None = None,
    bond_tolerance: float = 0.10,
    clash_distance: float = 0.12,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the deviation of each bond from its reference length, and the residues that clash.

    A residue clashes if one of its atoms is closer than `clash_distance` to an atom of another residue; for
    chain neighbours, only contacts between their side chains count.

    Parameters
    ----------
    atoms : Tensor (*, residues, atoms, 3), float32 or float64
        Coordinates in nm; atoms that are not present are never read.
    side_chain : Tensor (residues, atoms), bool
        Atoms that belong to side chains.
    following : Tensor (residues,), int64
        The residue after each in its chain, or -1 without one.
    bonds : Tensor (bonds, 2), int64
        Bonded atoms as flat indices residue * atoms + atom. An index out of range is an error on the CPU;
        on CUDA, where the check would synchronise, such a bond counts as missing.
    reference_lengths : Tensor (bonds,) or (*, bonds), dtype of `atoms`
        Reference length of each bond, in nm; no gradient.
    present : Tensor (*, residues, atoms) or (residues, atoms), bool, optional
        Atoms that exist; all by default.
    box : Tensor (3, 3) or (*, 3, 3), dtype of `atoms`, optional
        Box vectors in nm as rows, of a periodic box in reduced form: (ax, 0, 0), (bx, by, 0), (cx, cy, cz)
        with ax, by, cz > 0, abs(bx) and abs(cx) at most ax / 2, abs(cy) at most by / 2. Bonds and clashes are
        then measured between nearest images, for atoms in any image. ax, by and cz must exceed twice
        `clash_distance`. No box by default; no gradient.
    bond_tolerance : float
        Largest relative deviation (inclusive) of a good bond.
    clash_distance : float
        Distance in nm (exclusive) below which two atoms clash.

    Returns
    -------
    deviation : Tensor (*, bonds)
        length / reference - 1; 0 for bonds with a missing atom. Gradients flow to `atoms`, to first order
        only.
    clash : Tensor (*, residues), bool
        Residues that clash.
    counts : Tensor (*, 3), int64
        Numbers of bonds within tolerance, bonds present and residues that clash.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value. The values of `bonds` and `box` are checked on
        the CPU only.

    Notes
    -----
    The bond score in percent is 100 counts[0] / counts[1], and the clash score is 100 counts[2] / residues.
    An atom whose coordinates are not finite clashes with nothing, and its bonds are not within tolerance.
    Results and gradients are the same in every run, and on the CPU for any number of threads. On CUDA a box
    that the CPU would reject gives wrong distances and may miss clashes.

    The nearest image is found by subtracting rounded multiples of c, b and a in turn, which is exact for
    distances below half of ax, by and cz. Longer bonds may be measured to another image.

    References
    ----------
    The scores of GenZProt and DiAMoNDBack: Jones, Shmilovich, Ferguson, J. Chem. Theory Comput. 2023.
    """
    if present is None:
        present = torch.ones(atoms.shape[-3:-1], dtype=torch.bool, device=atoms.device)
    return torch.ops.backmap.structure_score(
        atoms, present, side_chain, following, bonds, reference_lengths, bond_tolerance, clash_distance, box
    )
