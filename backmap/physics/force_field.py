"""Parameters of a molecular-mechanics force field, atom by atom, as arrays stored in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import openmm

SOLVENT_PREFIX = "solvent."


@dataclass(frozen=True)
class ImplicitSolvent:
    """Generalised Born solvent of Onufriev, Bashford and Case (OBC2), with a surface term.

    Attributes
    ----------
    charges : ndarray, (atoms,)
        In elementary charges.
    radii : ndarray, (atoms,)
        Atomic radii in nm, before the offset of 0.009 nm is subtracted.
    scales : ndarray, (atoms,)
        Factor on the reduced radius of each atom when it screens another.
    dielectrics : ndarray, (2,)
        Relative permittivities of the solute and of the solvent.
    surface_tension : ndarray, ()
        Surface energy in kJ/mol/nm^2; 0 omits the surface term.
    """

    charges: np.ndarray
    radii: np.ndarray
    scales: np.ndarray
    dielectrics: np.ndarray
    surface_tension: np.ndarray


@dataclass(frozen=True)
class ForceField:
    """All parameters of a potential energy, in nm, rad, kJ/mol, elementary charges and daltons.

    Constrained bonds carry no energy: OpenMM leaves them out of the System, and they are left out here too.
    To include bonds to hydrogen, create the System with ``constraints=None``.

    Attributes
    ----------
    masses : ndarray, (atoms,)
    bonds : ndarray, (bonds, 2) int64
    bond_parameters : ndarray, (bonds, 2)
        Length and force constant k of k / 2 (r - length)^2.
    angles : ndarray, (angles, 3) int64
    angle_parameters : ndarray, (angles, 2)
        Angle and force constant, as for bonds.
    torsions : ndarray, (torsions, 4) int64
        Proper and improper, one row per Fourier term.
    torsion_parameters : ndarray, (torsions, 3)
        Periodicity n, phase and barrier k of k (1 + cos(n phi - phase)).
    harmonic_torsions : ndarray, (impropers, 4) int64
    harmonic_torsion_parameters : ndarray, (impropers, 2)
        Angle and force constant k of k (phi - angle)^2, with the difference wrapped to half a turn.
    correction_torsions : ndarray, (corrections, 8) int64
        Pairs of torsions whose energy is given by a CMAP table.
    correction_index : ndarray, (corrections,) int64
        Table of each pair.
    correction_maps : ndarray, (maps, points, points)
        Energies at equidistant angles from 0, with the first torsion along the first axis.
    charges : ndarray, (atoms,)
    kinds : ndarray, (atoms,) int64
        Index of each atom into the Lennard-Jones tables.
    repulsion, attraction : ndarray, (kinds, kinds)
        A and B of A / r^12 - B / r^6, in kJ/mol nm^12 and kJ/mol nm^6.
    exceptions : ndarray, (exceptions, 2) int64
        Pairs with non-bonded parameters of their own: excluded and 1-4 pairs.
    exception_parameters : ndarray, (exceptions, 3)
        Charge product, A and B; zero for excluded pairs.
    constraints : ndarray, (constraints, 2) int64
    constraint_lengths : ndarray, (constraints,)
    solvent : ImplicitSolvent, optional
    """

    masses: np.ndarray
    bonds: np.ndarray
    bond_parameters: np.ndarray
    angles: np.ndarray
    angle_parameters: np.ndarray
    torsions: np.ndarray
    torsion_parameters: np.ndarray
    harmonic_torsions: np.ndarray
    harmonic_torsion_parameters: np.ndarray
    correction_torsions: np.ndarray
    correction_index: np.ndarray
    correction_maps: np.ndarray
    charges: np.ndarray
    kinds: np.ndarray
    repulsion: np.ndarray
    attraction: np.ndarray
    exceptions: np.ndarray
    exception_parameters: np.ndarray
    constraints: np.ndarray
    constraint_lengths: np.ndarray
    solvent: ImplicitSolvent | None = None

    @classmethod
    def from_openmm(cls, system: openmm.System) -> ForceField:
        """Read an OpenMM System.

        Parameters
        ----------
        system : openmm.System
            Without cutoffs. The supported forces are HarmonicBondForce, HarmonicAngleForce,
            PeriodicTorsionForce, CMAPTorsionForce, NonbondedForce, GBSAOBCForce, the CustomGBForce of OBC2,
            and the custom forces that OpenMM creates for CHARMM's impropers and Lennard-Jones tables.

        Raises
        ------
        ValueError
            If a force is not supported or uses a cutoff or periodic boundaries; the message names it.
        """
        from backmap.physics.openmm_system import read_system

        return read_system(system)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ForceField:
        """Create a force field from the arrays of `to_arrays`.

        Raises
        ------
        ValueError
            If an array is missing, contains invalid values, or has a shape that does not match the others;
            the message names it.
        """
        _check_arrays(arrays)
        solvent = None
        if any(name.startswith(SOLVENT_PREFIX) for name in arrays):
            solvent = ImplicitSolvent(**_named(arrays, ImplicitSolvent, SOLVENT_PREFIX))
        return cls(**_named(arrays, cls, ""), solvent=solvent)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.masses)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all parameters as a flat dictionary of arrays, ready for safetensors."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "solvent"}
        if self.solvent is not None:
            arrays |= {SOLVENT_PREFIX + f.name: getattr(self.solvent, f.name) for f in fields(self.solvent)}
        return arrays

    def select(self, atoms: np.ndarray) -> ForceField:
        """Restrict the force field to some atoms, such as the solute of a solvated system.

        Parameters
        ----------
        atoms : ndarray, (selected,) int
            Distinct indices; the atoms of the result are in this order.

        Returns
        -------
        ForceField
            The force field of the selected atoms only.

        Raises
        ------
        ValueError
            If indices repeat or lie outside the system, or if the selection cuts a molecule.
        TypeError
            If `atoms` does not contain integers.
        """
        atoms = np.asarray(atoms)
        if not np.issubdtype(atoms.dtype, np.integer):
            raise TypeError(f"atoms has dtype {atoms.dtype}; give integer indices")
        if len(np.unique(atoms)) != len(atoms):
            raise ValueError("atoms contains an index more than once")
        if len(atoms) and not 0 <= atoms.min() <= atoms.max() < self.n_atoms:
            raise ValueError(
                f"atoms ranges from {atoms.min()} to {atoms.max()}, but there are {self.n_atoms} atoms"
            )
        position = np.full(self.n_atoms, -1, dtype=np.int64)
        position[atoms] = np.arange(len(atoms))

        changes: dict[str, np.ndarray] = {name: getattr(self, name)[atoms] for name in _PER_ATOM}
        for name, companions in _PER_TERM.items():
            groups = position[getattr(self, name)]
            kept = (groups >= 0).all(axis=1)
            cut = (groups >= 0).any(axis=1) & ~kept
            if cut.any():
                members = ", ".join(map(str, getattr(self, name)[cut][0]))
                raise ValueError(
                    f"the selection cuts a molecule: {name} link the atoms {members}, not all selected"
                )
            changes[name] = groups[kept]
            changes |= {companion: getattr(self, companion)[kept] for companion in companions}
        solvent = self.solvent
        if solvent is not None:
            solvent = replace(
                solvent,
                charges=solvent.charges[atoms],
                radii=solvent.radii[atoms],
                scales=solvent.scales[atoms],
            )
        return replace(self, **changes, solvent=solvent)


_PER_ATOM = ("masses", "charges", "kinds")
_PER_TERM = {
    "bonds": ("bond_parameters",),
    "constraints": ("constraint_lengths",),
    "angles": ("angle_parameters",),
    "torsions": ("torsion_parameters",),
    "harmonic_torsions": ("harmonic_torsion_parameters",),
    "correction_torsions": ("correction_index",),
    "exceptions": ("exception_parameters",),
}
"""Arrays with one row per atom, and arrays of atom indices with the arrays that share their rows."""


_SHAPES: dict[str, tuple[str | int, ...]] = {
    "masses": ("atoms",),
    "bonds": ("bonds", 2),
    "bond_parameters": ("bonds", 2),
    "angles": ("angles", 3),
    "angle_parameters": ("angles", 2),
    "torsions": ("torsions", 4),
    "torsion_parameters": ("torsions", 3),
    "harmonic_torsions": ("impropers", 4),
    "harmonic_torsion_parameters": ("impropers", 2),
    "correction_torsions": ("corrections", 8),
    "correction_index": ("corrections",),
    "correction_maps": ("maps", "points", "points"),
    "charges": ("atoms",),
    "kinds": ("atoms",),
    "repulsion": ("kinds", "kinds"),
    "attraction": ("kinds", "kinds"),
    "exceptions": ("exceptions", 2),
    "exception_parameters": ("exceptions", 3),
    "constraints": ("constraints", 2),
    "constraint_lengths": ("constraints",),
    f"{SOLVENT_PREFIX}charges": ("atoms",),
    f"{SOLVENT_PREFIX}radii": ("atoms",),
    f"{SOLVENT_PREFIX}scales": ("atoms",),
    f"{SOLVENT_PREFIX}dielectrics": (2,),
    f"{SOLVENT_PREFIX}surface_tension": (),
}
"""Shapes of all arrays; sizes with the same name are equal."""

_INDICES = {
    **dict.fromkeys(_PER_TERM, "atoms"),
    "correction_index": "maps",
    "kinds": "kinds",
}
"""Arrays of indices, and what they index."""


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Reject arrays whose shapes disagree, indices out of range, and values that are not finite."""
    sizes: dict[str | int, int] = {2: 2, 3: 3, 4: 4, 8: 8}
    for name, array in arrays.items():
        shape = _SHAPES.get(name)
        if shape is None:
            raise ValueError(f"the force field has an unknown array {name}")
        wanted = np.int64 if name in _INDICES else np.float64
        agrees = array.ndim == len(shape) and all(
            sizes.setdefault(key, size) == size for key, size in zip(shape, array.shape, strict=True)
        )
        if array.dtype != wanted or not agrees:
            raise ValueError(
                f"{name} of the force field is {array.dtype} {array.shape}; it must be "
                f"{np.dtype(wanted)} ({', '.join(map(str, shape))}), with the sizes of the other arrays"
            )
        if name not in _INDICES and not np.isfinite(array).all():
            raise ValueError(f"{name} of the force field contains values that are not finite")
    for name, numbered in _INDICES.items():
        indices, size = arrays.get(name), sizes.get(numbered, 0)
        if indices is not None and indices.size and not 0 <= indices.min() <= indices.max() < size:
            raise ValueError(
                f"{name} of the force field ranges from {indices.min()} to {indices.max()}, "
                f"but there are {size} {numbered}"
            )


def _named(arrays: Mapping[str, np.ndarray], kind: type, prefix: str) -> dict[str, np.ndarray]:
    names = [f.name for f in fields(kind) if f.name != "solvent"]
    missing = [prefix + name for name in names if prefix + name not in arrays]
    if missing:
        raise ValueError(f"the force field lacks {', '.join(missing)}")
    return {name: np.asarray(arrays[prefix + name]) for name in names}
