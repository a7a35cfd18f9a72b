"""Side-chain atoms on ideal bonds, from torsions."""

import torch
from torch import Tensor


def place_side_chains(
    backbone: Tensor,
    c_beta: Tensor,
    types: Tensor,
    torsions: Tensor,
    rules: Tensor,
    parents: Tensor,
    torsion_indices: Tensor,
    geometry: Tensor,
    ring: Tensor,
    known: Tensor | None = None,
    known_present: Tensor | None = None,
) -> Tensor:
    """Place the side-chain atoms of each candidate conformation of each residue.

    With e1 the direction from parent b to parent c, e3 that of (b - a) x e1, and e2 = e3 x e1, an atom at the
    bond length r from c, the angle t b-c-atom and the torsion w a-b-c-atom lies at

        c - r cos(t) e1 + r sin(t) (cos(w) e2 + sin(w) e3)

    Atoms are placed one after another, so that parents may be side-chain atoms. The direction of a vector
    shorter than 1e-9 nm is nearly zero.

    Parameters
    ----------
    backbone : Tensor (*, 4, 3), float32 or float64
        N, CA, C and O of each residue in nm.
    c_beta : Tensor (*, 3), dtype of `backbone`
        In nm.
    types : Tensor (*), int64
        Residue types, rows of the tables.
    torsions : Tensor (*, candidates, torsions), dtype of `backbone`
        chi1 ... of each candidate in radians.
    rules : Tensor (types, atoms), int64
        How each atom from CB on is placed. 0: the type does not have it; it becomes zero. 1: it is CB.
        2: by bond length, angle and torsion. 3: as CG of a ring, with torsion chi1 within the limit of the
        ring, and the angle that narrows with it. 4: as CD of a ring, on the circle about CA-N at the length
        and angle of the bond N-CD, where it is at the right distance from the atom before it.
    parents : Tensor (types, atoms, 3), int64
        a, b and c: 0 to 3 for the backbone, 4 for CB, and so on; each less than 4 plus the atom's own number.
        Those of a ring's atoms are N, CA and CB.
    torsion_indices : Tensor (types, atoms), int64
        Torsion that is added to the offset; the number of torsions for none.
    geometry : Tensor (types, atoms, 3), dtype of `backbone`
        Bond length in nm, and angle and offset of the torsion in radians.
    ring : Tensor (7,), dtype of `backbone`
        Bond lengths CB-CG, CG-CD and CD-N in nm, the widest torsion N-CA-CB-CG, the angle CA-CB-CG of a flat
        ring, the square of the torsion times which it narrows, and the angle CA-N-CD, in radians.
    known : Tensor (*, atoms, 3), dtype of `backbone`, optional
        Atoms to keep in nm, from which the following ones are placed.
    known_present : Tensor (*, atoms), bool, optional
        Which atoms are kept.

    Returns
    -------
    Tensor (*, candidates, atoms, 3), dtype of `backbone`
        In nm; zero where the type does not have the atom.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape or device, or on the CPU, an index is out of range.

    Notes
    -----
    The operator is for inference: asking for a gradient is an error. Residues and candidates are independent
    of each other.
    """
    return torch.ops.backmap.place_side_chains(
        backbone,
        c_beta,
        types,
        torsions,
        rules,
        parents,
        torsion_indices,
        geometry,
        ring,
        known,
        known_present,
    )
