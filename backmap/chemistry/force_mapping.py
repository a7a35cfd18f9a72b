"""Forces on beads from forces on atoms, for force matching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from backmap.chemistry.mapping import LinearMapping


def groups_of(n_atoms: int, constraints: Iterable[tuple[int, int]]) -> np.ndarray:
    """Number the groups of atoms held together by constraints.

    Parameters
    ----------
    n_atoms : int
        Atoms of the molecule.
    constraints : iterable of pairs of int
        Atoms at fixed distances.

    Returns
    -------
    ndarray, (atoms,) int64
        Group of each atom, numbered from 0 in the order of their first atoms.
    """
    group = np.arange(n_atoms)
    for first, second in constraints:
        low, high = sorted((group[first], group[second]))
        group[group == high] = low
    return np.unique(group, return_inverse=True)[1]


def constrained_hydrogens(elements: Sequence[str], bonds: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the bonds that contain a hydrogen, which simulations usually constrain."""
    return [(first, second) for first, second in bonds if "H" in (elements[first], elements[second])]


class ForceMapping:
    """Forces on beads as weighted sums of the forces on atoms.

    The mean over all atomistic states with the same beads is the force that the beads feel on average, the
    negative gradient of their potential of mean force, if the weights of bead I obey

    - sum_i w[I, i] c[J, i] = 1 if I = J, and 0 otherwise, where c[J] are the weights of bead J's position
      (Noid et al., J. Chem. Phys. 128, 244114, 2008, eq. 20), and
    - atoms joined by constraints have the same weight, because the forces of the constraints are not among
      the given ones (Ciccotti et al., ChemPhysChem 6, 1809, 2005).

    Those that obey both differ only in their noise (Krämer et al., J. Phys. Chem. Lett. 14, 3970, 2023).

    Parameters
    ----------
    weights : ndarray, (beads, atoms) float64
        Weight of each atom's force.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    @classmethod
    def basic(cls, mapping: LinearMapping, groups: np.ndarray) -> ForceMapping:
        """Take the weights that are least in square: the atoms of each bead, and those constrained to them.

        Raises
        ------
        ValueError
            If constraints join atoms of two beads in such a way that no weights obey the conditions.
        """
        conditions = _conditions(mapping, groups)
        return cls(_least_squares(np.eye(groups.max() + 1), conditions, mapping)[:, groups])

    @classmethod
    def optimal(cls, mapping: LinearMapping, groups: np.ndarray, forces: np.ndarray) -> ForceMapping:
        """Choose the weights for which the mean square of the mapped forces is least.

        This leaves the least noise, because the mean force is the same for all weights that are allowed
        (Krämer et al., eq. 8).

        Parameters
        ----------
        mapping : LinearMapping
            Positions of the beads.
        groups : ndarray, (atoms,) int64
            From :func:`groups_of`.
        forces : ndarray, (frames, atoms, 3)
            Forces on atoms. A few hundred frames per group suffice.
        """
        members = (groups == np.arange(groups.max() + 1)[:, None]).astype(np.float64)
        flat = np.einsum("ga,fax->fxg", members, forces).reshape(-1, len(members))
        return cls(
            _least_squares(flat.T @ flat / len(flat), _conditions(mapping, groups), mapping)[:, groups]
        )

    def apply(self, forces: np.ndarray) -> np.ndarray:
        """Return the forces (..., beads, 3) on beads from those (..., atoms, 3) on atoms."""
        return np.einsum("ba,...ax->...bx", self.weights, forces)


def _conditions(mapping: LinearMapping, groups: np.ndarray) -> np.ndarray:
    """Return the weight (beads, groups) of each group in the position of each bead."""
    conditions = np.zeros((mapping.n_beads, groups.max() + 1))
    np.add.at(conditions.T, groups, mapping.weights.T)
    return conditions


def _least_squares(quadratic: np.ndarray, conditions: np.ndarray, mapping: LinearMapping) -> np.ndarray:
    """Minimise w^T Q w for each row w, such that conditions @ w is 1 for its bead and 0 for the others.

    The minimum is w = Q^-1 C^T (C Q^-1 C^T)^-1 e.
    """
    damped = quadratic + 1e-9 * np.trace(quadratic) / len(quadratic) * np.eye(len(quadratic))
    solved = np.linalg.solve(damped, conditions.T)
    inner = conditions @ solved
    if np.linalg.matrix_rank(inner, tol=1e-9 * np.abs(inner).max()) < len(inner):
        names = ", ".join(mapping.bead_names)
        raise ValueError(f"constraints join the beads {names} so that their forces cannot be told apart")
    return np.linalg.solve(inner, solved.T)
