"""Measure one structure or part of a trajectory: values per frame, and torsion counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, RESIDUE_NAMES, SLOT_CA, SLOT_OXT, Topology
from backmap.chemistry.ideal_geometry import ideal_bond_lengths
from backmap.chemistry.modified_residues import mirrored_residues

from .all_atoms import Contacts
from .backbone_angles import IDEAL_DEGREES, angle_atoms, angle_measures, angle_statistics, bond_angles
from .bonds import bond_lengths
from .c_beta import OUTLIER_ANGSTROM, c_beta_deviations
from .clashes import bonds_and_clashes
from .consistency import c_alpha_rmsd
from .dihedrals import (
    RECOVERY_DEGREES,
    TORSIONS,
    angular_distance,
    count_by_type,
    dihedral_angles,
    fold_symmetric,
    torsion_atoms,
)
from .diversity import ATOM_GROUPS, rmsd, squared_distances
from .molprobity import molprobity_score
from .ramachandran import ramachandran_of_residues
from .regions import REGIONS, mean, members, residue_regions, share
from .rings import pierced_rings, ring_atoms
from .rotamers import rotamers_of_residues, side_chain_torsions
from .stereochemistry import alpha_centres, beta_centres, is_cis, is_twisted, right_handed
from .strain import ITERATIONS

ANGSTROM = 10.0


class Extras(NamedTuple):
    """What is found in samples of one structure with hydrogens, which takes longer.

    Attributes
    ----------
    contacts : Contacts, or None
        Contacts between all atoms.
    strain : ndarray, (3, samples, frames, residues), or None
        Energies of residues in kJ/mol; see :class:`backmap.evaluation.strain.StrainEnergies`.
    """

    contacts: Contacts | None = None
    strain: np.ndarray | None = None


@dataclass(frozen=True)
class Measurement:
    """Measurements on samples of one structure.

    The first axis of every array is the region, in the order of ``REGIONS``.

    Attributes
    ----------
    topology : Topology
    values : dict of str to ndarray, (2, samples, frames)
        In percent, Angstrom, degrees or rings per 1000 residues; NaN where nothing could be measured.
    reference_values : dict of str to ndarray, (2, frames)
        The same measures of the reference itself, where they are meaningful.
    between : ndarray, (2, samples, samples, frames)
        RMSD between samples in Angstrom.
    counts : ndarray, (2, 5, samples, 20, 36) int64
        Histograms by torsion (in the order of ``TORSIONS``), sample and residue type.
    reference_counts : ndarray, (2, 5, 20, 36) int64
    recovered, compared : ndarray, (2, 20) int64
        Numbers of chi1 angles within 40 degrees of the reference and of all chi1 angles, by residue type.
    residues, reference_residues : dict of str to ndarray, (2, residues)
        Means over samples and frames of the measures that single residues have; NaN where not measured.
    """

    topology: Topology
    values: dict[str, np.ndarray]
    reference_values: dict[str, np.ndarray]
    between: np.ndarray
    counts: np.ndarray
    reference_counts: np.ndarray
    recovered: np.ndarray
    compared: np.ndarray
    residues: dict[str, np.ndarray]
    reference_residues: dict[str, np.ndarray]

    @property
    def n_residues(self) -> int:
        """Number of residues."""
        return self.topology.n_residues

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.counts.shape[2]

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return next(iter(self.values.values())).shape[-1]


def join_frames(parts: Sequence[Measurement]) -> Measurement:
    """Join the measurements of successive parts of one trajectory."""
    first = parts[0]

    def joined(name: str) -> dict[str, np.ndarray]:
        return {
            key: np.concatenate([getattr(part, name)[key] for part in parts], axis=-1)
            for key in getattr(first, name)
        }

    def averaged(name: str) -> dict[str, np.ndarray]:
        weights = [part.n_frames for part in parts]
        return {
            key: np.average([getattr(part, name)[key] for part in parts], axis=0, weights=weights)
            for key in getattr(first, name)
        }

    return Measurement(
        topology=first.topology,
        values=joined("values"),
        reference_values=joined("reference_values"),
        residues=averaged("residues"),
        reference_residues=averaged("reference_residues"),
        between=np.concatenate([part.between for part in parts], axis=-1),
        **{
            name: np.sum([getattr(part, name) for part in parts], axis=0)
            for name in ("counts", "reference_counts", "recovered", "compared")
        },
    )


def measure(
    topology: Topology,
    reference: np.ndarray | None,
    samples: np.ndarray,
    reference_present: np.ndarray | None = None,
    sample_present: np.ndarray | None = None,
    linked: np.ndarray | None = None,
    given_c_alpha: np.ndarray | None = None,
    reference_box: np.ndarray | None = None,
    sample_box: np.ndarray | None = None,
    reference_extras: Extras | None = None,
    sample_extras: Extras | None = None,
) -> Measurement:
    """Measure samples, against a reference if there is one.

    Parameters
    ----------
    topology : Topology
    reference : ndarray, (frames, residues, 15, 3), or None
        nm. With only C-alphas, it is used only for the consistency of the C-alphas.
    samples : ndarray, (samples, frames, residues, 15, 3)
        nm.
    reference_present, sample_present : ndarray, (residues, 15) bool, optional
        Atoms with known coordinates; by default all atoms of the topology. Measures against a reference use
        the atoms present in both.
    linked : ndarray, (residues,) bool, optional
        Residues with a peptide bond to their successor; by default from :meth:`Topology.linked` on the first
        frame of the reference, or of the samples if there is no reference.
    given_c_alpha : ndarray, (frames, residues, 3), optional
        C-alphas that the samples were built from, nm, for the consistency of the C-alphas; by default those
        of the reference.
    reference_box : ndarray, (frames, 3, 3), optional
        Vectors of periodic boxes in nm, in reduced form: clashes and pierced rings are also found across
        periodic boundaries. Molecules must be whole.
    sample_box : ndarray, (samples, frames, 3, 3), optional
        The same for the samples.
    reference_extras, sample_extras : Extras, optional
        What was found with hydrogens.

    Returns
    -------
    Measurement
    """
    sample_present = _known_atoms(topology, sample_present)
    samples = _checked("samples", samples, (None, None, topology.n_residues, ATOM_SLOTS, 3), sample_present)
    true_present = topology.atom_mask
    if reference is not None:
        true_present = _known_atoms(topology, reference_present)
        reference = _checked("reference", reference, samples.shape[1:], true_present)
    if linked is None:
        linked = topology.linked((samples if reference is None else reference)[..., SLOT_CA, :])
    if reference is not None and np.delete(true_present, SLOT_CA, axis=1).any():
        expected = true_present
        measurer = _Measurer(topology, sample_present & true_present, linked)
        result = measurer.against(
            reference, samples, reference_box, sample_box, reference_extras, sample_extras
        )
    else:
        expected = topology.atom_mask
        measurer = _Measurer(topology, sample_present, linked)
        result = measurer.without_reference(samples, sample_box, sample_extras)
    if reference is not None:
        counted = residue_regions(topology) & (sample_present & true_present)[:, SLOT_CA]
        given = reference[..., SLOT_CA, :] if given_c_alpha is None else given_c_alpha
        result.values["consistency"] = ANGSTROM * c_alpha_rmsd(samples, given, counted)
    completeness = _completeness(topology, expected, sample_present)[:, None, None]
    result.values["completeness"] = np.broadcast_to(completeness, (len(REGIONS), *samples.shape[:2]))
    return result


class _Measurer:
    """Tables of one structure (bonds, torsions, rings ...), and measurements that use them."""

    def __init__(self, topology: Topology, present: np.ndarray, linked: np.ndarray) -> None:
        self.topology, self.present, self.following = topology, present, topology.following(linked)
        self.types = topology.residue_types
        self.mirrored = mirrored_residues(topology)
        self.regions = residue_regions(topology)
        bonds = topology.bonds(linked)
        self.bonds = bonds[self._members(bonds)[-1]]
        self.torsions = torsion_atoms(topology, linked)
        self.torsion_members = np.stack([self._members(atoms) for atoms in self.torsions], axis=1)
        self.angles = dict(zip(IDEAL_DEGREES, angle_atoms(topology, linked), strict=True))
        self.chi = side_chain_torsions(topology)

    def without_reference(
        self, samples: np.ndarray, box: np.ndarray | None, extras: Extras | None
    ) -> Measurement:
        """Compute the measures that do not need a reference."""
        angles = self._angles(samples)
        lengths = ideal_bond_lengths(self.topology, self.bonds)
        counts = self._counts(angles)
        values, residues = self._inherent(samples, angles, lengths, box, extras)
        between = self._between(samples)
        return Measurement(
            topology=self.topology,
            values={**values, **_spread(between)},
            reference_values={},
            between=between,
            counts=counts,
            reference_counts=np.zeros_like(counts[:, :, 0]),
            recovered=np.zeros((len(REGIONS), len(RESIDUE_NAMES)), dtype=np.int64),
            compared=np.zeros((len(REGIONS), len(RESIDUE_NAMES)), dtype=np.int64),
            residues=residues,
            reference_residues={},
        )

    def against(
        self,
        reference: np.ndarray,
        samples: np.ndarray,
        reference_box: np.ndarray | None,
        sample_box: np.ndarray | None,
        reference_extras: Extras | None,
        sample_extras: Extras | None,
    ) -> Measurement:
        """Compute all measures."""
        angles, reference_angles = self._angles(samples), self._angles(reference[None])
        chi1 = self.torsion_members[:, TORSIONS.index("chi1")]
        recovered = angular_distance(angles[0], reference_angles[0]) <= RECOVERY_DEGREES
        lengths = bond_lengths(reference, self.bonds)
        own_box = None if reference_box is None else reference_box[None]
        own, own_residues = self._inherent(
            reference[None], reference_angles, lengths, own_box, reference_extras
        )
        inherent, residues = self._inherent(samples, angles, lengths, sample_box, sample_extras)
        between = self._between(samples)
        return Measurement(
            topology=self.topology,
            values={
                **inherent,
                **_spread(between),
                "chi1_recovery": share(recovered, chi1),
                **self._distances(reference, samples),
            },
            reference_values={name: values[:, 0] for name, values in own.items()},
            between=between,
            counts=self._counts(angles),
            reference_counts=self._counts(reference_angles)[:, :, 0],
            recovered=self._by_type(recovered.sum(axis=(0, 1)), chi1),
            compared=self._by_type(np.full(len(self.types), recovered[..., 0].size), chi1),
            residues=residues,
            reference_residues=own_residues,
        )

    def _members(self, indices: np.ndarray) -> np.ndarray:
        return members(indices, self.present, self.regions)

    def _by_type(self, amounts: np.ndarray, counted: np.ndarray) -> np.ndarray:
        sums = [np.bincount(self.types, amounts * mask, minlength=len(RESIDUE_NAMES)) for mask in counted]
        return np.stack(sums).astype(np.int64)

    def _angles(self, samples: np.ndarray) -> np.ndarray:
        """Return torsions (5, samples, frames, residues) in degrees, two-fold symmetric ones folded."""
        return np.stack(
            [
                fold_symmetric(dihedral_angles(samples, atoms), torsion, self.types)
                for torsion, atoms in zip(TORSIONS, self.torsions, strict=True)
            ]
        )

    def _counts(self, angles: np.ndarray) -> np.ndarray:
        """Return histograms (2, 5, samples, 20, 36)."""
        return np.array(
            [
                [
                    [count_by_type(sample, self.types, counted) for sample in torsion]
                    for torsion, counted in zip(angles, region, strict=True)
                ]
                for region in self.torsion_members
            ]
        )

    def _inherent(
        self,
        samples: np.ndarray,
        angles: np.ndarray,
        bond_lengths: np.ndarray,
        box: np.ndarray | None,
        extras: Extras | None,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Compute measures of the structure itself, (2, samples, frames), and of residues, (2, residues)."""
        alpha, beta = alpha_centres(self.topology), beta_centres(self.topology)
        bonds = self._members(self.bonds)
        given = self.present, self.following, self.bonds, bond_lengths
        good, clashing = bonds_and_clashes(samples, *given, box)
        pierced = pierced_rings(samples, self.bonds, ring_atoms(self.topology, self.present), box)
        built = self.regions & self.present.any(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            rings = 1000.0 * np.moveaxis(pierced @ bonds.T.astype(np.float64), -1, 0)
            rings /= built.sum(axis=-1)[:, None, None]
        values = {
            "bond": share(good, bonds),
            "chirality": share(right_handed(samples, alpha), self._members(alpha)),
            "chirality_beta": share(right_handed(samples, beta), self._members(beta)),
            "rings": rings,
            **self._backbone_angles(samples),
        }
        flags = {
            "clash": (clashing, built),
            **self._peptides(angles[TORSIONS.index("omega")]),
            **self._ramachandran(angles),
            **self._rotamers(samples),
            **self._c_beta(samples, alpha),
        }
        residues = {}
        for name, (each, counted) in flags.items():
            values[name] = share(each, counted) if each.dtype == bool else mean(each, counted)
            unit = 100.0 if each.dtype == bool else 1.0
            residues[name] = np.where(counted, unit * each.mean(axis=(0, 1)), np.nan)
        if extras is not None and extras.contacts is not None:
            values["clashscore"], residues["clashscore"] = self._clash_score(extras.contacts)
            values["molprobity"] = molprobity_score(
                *(values[name] for name in ("clashscore", "rotamer_outliers", "ramachandran_favoured"))
            )
        if extras is not None and extras.strain is not None:
            for iterations, each in zip(ITERATIONS, extras.strain, strict=True):
                values[f"strain_{iterations}"] = mean(each, built)
                residues[f"strain_{iterations}"] = np.where(built, each.mean(axis=(0, 1)), np.nan)
        return values, residues

    def _peptides(self, omega: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Judge the peptide bond before each residue."""
        counted = self.torsion_members[:, TORSIONS.index("omega")]
        proline, cis = self.types == RESIDUE_INDEX["PRO"], is_cis(omega)
        return {
            "cis": (cis, counted & ~proline),
            "cis_proline": (cis, counted & proline),
            "twisted": (is_twisted(omega), counted),
        }

    def _ramachandran(self, angles: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        torsions = [TORSIONS.index(name) for name in ("phi", "psi", "omega")]
        as_l = np.where(self.mirrored, -angles[torsions], angles[torsions])
        found = ramachandran_of_residues(self.types, self.following, *as_l)
        counted = np.all(self.torsion_members[:, torsions], axis=1)
        return {f"ramachandran_{name}": (each, counted) for name, each in found._asdict().items()}

    def _rotamers(self, samples: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        chi = np.stack([dihedral_angles(samples, atoms) for atoms in self.chi])
        as_l = np.where(self.mirrored, -chi, chi)
        known = np.all([self._members(atoms) | (atoms < 0).all(axis=-1) for atoms in self.chi], axis=0)
        counted = known & (self.chi[0] >= 0).all(axis=-1)
        found = rotamers_of_residues(self.types, as_l)
        return {f"rotamer_{name}": (each, counted) for name, each in found._asdict().items()}

    def _clash_score(self, contacts: Contacts) -> tuple[np.ndarray, np.ndarray]:
        """Return contacts per 1000 atoms of structures, (2, samples, frames), and residues, (2, residues)."""
        counts = np.stack([contacts.counts[..., region].sum(axis=-1) for region in self.regions])
        atoms = np.stack([contacts.n_atoms[:, region].sum(axis=-1) for region in self.regions])[..., None]
        with np.errstate(invalid="ignore", divide="ignore"):
            score = 1000.0 * counts / atoms
            each = 1000.0 * (contacts.counts.mean(axis=1) / contacts.n_atoms).mean(axis=0)
        return score, np.where(self.regions, each, np.nan)

    def _backbone_angles(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {}
        for name, atoms in self.angles.items():
            found = angle_statistics(bond_angles(samples, atoms), IDEAL_DEGREES[name], self._members(atoms))
            values |= dict(zip(angle_measures(name), found, strict=True))
        return values

    def _c_beta(self, samples: np.ndarray, centres: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        as_l = np.where(self.mirrored[:, None, None], -samples, samples)
        deviations, counted = c_beta_deviations(as_l, self.types), self._members(centres)
        return {
            "c_beta_deviation": (deviations, counted),
            "c_beta_outliers": (deviations >= OUTLIER_ANGSTROM, counted),
        }

    def _distances(self, reference: np.ndarray, samples: np.ndarray) -> dict[str, np.ndarray]:
        squared = squared_distances(samples, reference, self.types, self.present)
        return {group: ANGSTROM * rmsd(squared, self.present, self.regions, group) for group in ATOM_GROUPS}

    def _between(self, samples: np.ndarray) -> np.ndarray:
        """Return RMSDs between samples (2, samples, samples, frames) in Angstrom."""
        count, frames = samples.shape[:2]
        matrix = np.zeros((len(REGIONS), count, count, frames))
        for first in range(count):
            for second in range(first):
                squared = squared_distances(samples[first], samples[second], self.types, self.present)
                distance = ANGSTROM * rmsd(squared, self.present, self.regions)
                matrix[:, first, second] = matrix[:, second, first] = distance
        return matrix


def _spread(between: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean RMSD (2, samples, frames) of each sample to the others; nothing for a single sample."""
    n_samples = between.shape[1]
    return {"spread": between.sum(axis=2) / (n_samples - 1)} if n_samples > 1 else {}


def _known_atoms(topology: Topology, present: np.ndarray | None) -> np.ndarray:
    return topology.atom_mask if present is None else np.asarray(present, dtype=bool) & topology.atom_mask


def _completeness(topology: Topology, expected: np.ndarray, built: np.ndarray) -> np.ndarray:
    """Return the percentage of expected atoms (without OXT) that the samples contain, (2,)."""
    slots = slice(0, SLOT_OXT)
    counted = (residue_regions(topology)[:, :, None] & expected[:, slots]).reshape(len(REGIONS), -1)
    return share(built[:, slots].reshape(-1), counted)


def _checked(name: str, atoms: np.ndarray, shape: tuple[int | None, ...], present: np.ndarray) -> np.ndarray:
    """Check shape and values; return float64 coordinates, finite for absent atoms too."""
    atoms = np.asarray(atoms, dtype=np.float64)
    fits = atoms.ndim == len(shape) and all(
        wanted in (None, size) for size, wanted in zip(atoms.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} has shape {atoms.shape}, expected ({expected})")
    if not np.isfinite(atoms[..., present, :]).all():
        raise ValueError(f"{name} contains coordinates that are not finite")
    return np.where(present[..., None], atoms, 0.0)
