"""Modified residues, D-amino acids and caps, made of the atoms that a model builds for their parents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from backmap.chemistry import ATOM_SLOTS, HEAVY_ATOMS, Cap, Topology
from backmap.chemistry.hydrogen_sites import PLANAR_ATOMS, unit
from backmap.chemistry.modified_residues import (
    AddedAtom,
    Modification,
    Modifications,
    bonds_of,
    side_chain_atoms,
)
from backmap.chemistry.residues import BONDS, CHI_ATOMS, CONTACT_RADII_NM, SLOT_CB
from backmap.io import AtomList
from backmap.io.atom_list import ListedResidue

_UNCHANGED = Modification("")
_RIGID = "PRO"
_TURNS = {0.0: 0.0, np.radians(120.0): 0.02, np.radians(-120.0): 0.02}
"""Turns of the parent's side chain, with their costs in units of squared relative overlap."""
_TORSION_COST = 1e-4
"""Cost of each later candidate of a torsion, so that the usual one is taken where nothing overlaps."""
_EXCLUDED_BONDS = 3
"""Atoms up to this number of bonds apart do not count as overlapping."""
_POSITIONS_AT_A_TIME = 500_000
_WIDEST_CONTACT_NM = 2 * max(CONTACT_RADII_NM.values())


class ModifiedResidues:
    """Turns frames of the twenty amino acids into frames with modified residues, D-amino acids and caps.

    Added atoms stand on ideal bond lengths and angles. Their torsions, and if need be those of the parent's
    side chain, are chosen among a few candidates: one residue after the other and frame by frame, those that
    overlap least with all other atoms. The side chain of a D-amino acid among L-amino acids, and the other
    way round, is built on its backbone in the same way. Objects can be pickled, and used by several threads
    at once.

    Parameters
    ----------
    atoms : AtomList
        The atoms that are built, all heavy atoms of the parents.
    topology : Topology
        The residues, with the names of modified ones and with caps.
    modifications : mapping of str to Modification
        The modified residues and caps by name.
    given : ndarray, (residues, 15) bool, optional
        Atoms that keep their positions. Side chains with such atoms are not turned.
    other_hand : ndarray, (residues,) bool, optional
        Residues of which only the backbone is built, because their handedness is not that of the others.

    Attributes
    ----------
    atoms : AtomList
        The resulting atoms: those added to a residue follow its side chain.
    parents : tuple of str
        The amino acid that each residue of ``atoms`` is built as; empty for caps.
    planar : frozenset of (int, str)
        Residues and names of atoms whose bonds lie in a plane, besides those of unmodified residues.
    """

    def __init__(
        self,
        atoms: AtomList,
        topology: Topology,
        modifications: Modifications,
        *,
        given: np.ndarray | None = None,
        other_hand: np.ndarray | None = None,
    ) -> None:
        none = np.zeros((topology.n_residues, ATOM_SLOTS), dtype=bool)
        given = none if given is None else given
        other_hand = none[:, 0] if other_hand is None else other_hand
        maker = _Maker(atoms)
        caps: dict[tuple[int, str], list[Cap]] = {}
        for cap in topology.caps:
            caps.setdefault((cap.residue, modifications[cap.name].cap), []).append(cap)
        for index, residue in enumerate(atoms.residues):
            made = modifications.get(topology.written_name(index), _UNCHANGED)
            before, after = caps.get((index, "start"), []), caps.get((index, "end"), [])
            for cap in before:
                maker.add_cap(index, _listed_cap(cap, residue), modifications[cap.name])
            maker.add_residue(
                index, made, given[index], rebuilt=bool(other_hand[index]), capped=(bool(before), bool(after))
            )
            for cap in after:
                maker.add_cap(index, _listed_cap(cap, residue), modifications[cap.name])
        self._n_built, self._order = atoms.n_atoms, np.array(maker.order, dtype=np.int64)
        self._n_working = len(maker.elements)
        self._absent = np.array(maker.removed + maker.absent, dtype=np.int64)
        self.atoms = maker.listed()
        self.parents = tuple(maker.parents)
        self.planar = frozenset(maker.planar)
        self._hydrogens = maker.hydrogens
        radii = np.array([CONTACT_RADII_NM[element] for element in maker.elements])
        near = _near_in_bonds(maker.bonds, self._n_working)
        self._sites = [_Chooser(site, radii, near) for site in maker.first_sites + maker.sites]

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Make the residues of frames.

        Parameters
        ----------
        coordinates : ndarray, (frames, built atoms, 3) float64
            In nm.

        Returns
        -------
        ndarray, (frames, atoms, 3) float64
            In nm; atoms of unmodified residues are bitwise unchanged. The result of a frame does not depend
            on other frames.
        """
        return self._working(coordinates)[:, self._order]

    def parents_of(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the atoms of the parents as they stand in the resulting frames, in the shape given."""
        built = np.asarray(coordinates, dtype=np.float64)
        working = self._working(built)[:, : self._n_built]
        return np.where(np.isnan(working), built, working)

    def _working(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the working atoms (frames, atoms, 3); those that are removed are NaN."""
        built = np.asarray(coordinates, dtype=np.float64)
        working = np.full((len(built), self._n_working, 3), np.nan)
        working[:, : self._n_built] = built
        working[:, self._absent] = np.nan
        for site in self._sites:
            site.place(built, working)
        return working

    def hydrogens(self, chosen: Sequence[list[tuple[str, str]]]) -> list[list[tuple[str, str]]]:
        """Return the hydrogens of each residue, each with its heavy atom, given those of the parents."""
        return [rule.hydrogens(chosen) for rule in self._hydrogens]


@dataclass(frozen=True)
class _HydrogenRule:
    """How the hydrogens of a residue follow from those of its parent.

    ``capped`` is true if a cap precedes the residue.
    """

    residue: int | None
    made: Modification
    parent: str
    capped: bool = False

    def hydrogens(self, chosen: Sequence[list[tuple[str, str]]]) -> list[tuple[str, str]]:
        listed = {
            atom: names for atom, names in self.made.hydrogens.items() if not atom.startswith(("+", "-"))
        }
        if self.capped:
            listed["N"] = () if self.parent == "PRO" or "N" in _new_anchors(self.made) else ("H",)
        kept: dict[str, list[str]] = {}
        for hydrogen, heavy in () if self.residue is None else chosen[self.residue]:
            atom = self.made.new_names.get(heavy, heavy if not self.made.parent else "")
            if heavy == "OXT":
                atom = "OXT"
            if atom and atom not in listed:
                kept.setdefault(atom, []).append(hydrogen)
        for atom in _new_anchors(self.made):
            if atom in kept:
                kept[atom].pop()
        kept |= {atom: list(names) for atom, names in listed.items()}
        return [(hydrogen, atom) for atom, names in kept.items() for hydrogen in names]


def _new_anchors(made: Modification) -> list[str]:
    """Return the atoms that added atoms are bonded to, once per added atom."""
    return [atom.parents[2] for atom in made.atoms if not atom.instead]


def _listed_cap(cap: Cap, neighbour: ListedResidue) -> ListedResidue:
    return ListedResidue(cap.name, neighbour.chain, cap.number, cap.insertion_code, (), ())


_Placed = tuple[AddedAtom, int, tuple[int, ...]]


@dataclass(frozen=True)
class _Site:
    """What is done to one residue, or to make one cap; all atoms are indices among the working atoms.

    Attributes
    ----------
    anchor : int
        An atom that keeps its position.
    turns : tuple of (int, int, tuple of int)
        Bonds that atoms may be turned about: both ends, and the atoms beyond.
    rebuilt, placed : tuple of (AddedAtom, int, tuple of int)
        Atoms of the parent's side chain, and of the residue's own, to place: each with its index and those of
        its parents.
    """

    anchor: int
    turns: tuple[tuple[int, int, tuple[int, ...]], ...]
    rebuilt: tuple[_Placed, ...]
    placed: tuple[_Placed, ...]


class _Maker:
    """Collects the resulting residues, the working atoms and the sites.

    Working atoms are the built ones, followed by those that have no place among them.
    """

    def __init__(self, atoms: AtomList) -> None:
        self._built = atoms
        self._first = np.cumsum([0] + [len(residue.atom_names) for residue in atoms.residues])
        self.elements = [element for residue in atoms.residues for element in residue.elements]
        self.order: list[int] = []
        self.removed: list[int] = []
        self.absent: list[int] = []
        self.parents: list[str] = []
        self.planar: list[tuple[int, str]] = []
        self.hydrogens: list[_HydrogenRule] = []
        self.first_sites: list[_Site] = []
        self.sites: list[_Site] = []
        self._residues: list[ListedResidue] = []
        self._own_bonds: list[tuple[int, int]] = []
        self._rebonded: set[int] = set()

    @property
    def bonds(self) -> list[tuple[int, int]]:
        """Bonds between working atoms."""
        owner = np.repeat(np.arange(len(self._first) - 1), np.diff(self._first))
        gone = set(self.removed)
        kept = [
            bond
            for bond in self._built.bonds
            if gone.isdisjoint(bond)
            and not (owner[bond[0]] == owner[bond[1]] and int(owner[bond[0]]) in self._rebonded)
        ]
        return kept + self._own_bonds

    def listed(self) -> AtomList:
        """Return the resulting list of atoms."""
        number = np.full(len(self.elements), -1)
        number[self.order] = np.arange(len(self.order))
        bonds = tuple((int(number[first]), int(number[second])) for first, second in self.bonds)
        return AtomList(tuple(self._residues), self._built.chain_ids, bonds)

    def add_residue(
        self, index: int, made: Modification, given: np.ndarray, *, rebuilt: bool, capped: tuple[bool, bool]
    ) -> None:
        """Add a residue as modified; ``capped`` if caps precede and follow it. The latter replace OXT."""
        residue = self._built.residues[index]
        first = int(self._first[index])
        old = {name: first + place for place, name in enumerate(residue.atom_names)}
        names = self._own_names(made, old)
        if capped[1] and "OXT" in old:
            self.removed.append(old["OXT"])
            names.pop("OXT")
        end = [names.pop("OXT")] if "OXT" in names else []
        order = [*names.values(), *end]
        if made.parent:
            self.removed += [old[name] for name in made.removed if name in old]
            self._rebonded.add(index)
            self._own_bonds += [(names[one], names[other]) for one, other in bonds_of(made)]
            self._own_bonds += [(names["C"], atom) for atom in end]
            self.planar += [(len(self._residues), name) for name in made.planar]
            planar = PLANAR_ATOMS.get(residue.name, frozenset())
            self.planar += [
                (len(self._residues), new) for name, new in made.new_names.items() if name in planar
            ]
        self._list(replace(residue, name=made.name or residue.name), names, order)
        self._add_site(residue.name, made, old, names, given, rebuilt=rebuilt)
        self.parents.append(residue.name)
        self.hydrogens.append(_HydrogenRule(index, made, residue.name, capped[0]))

    def _own_names(self, made: Modification, old: Mapping[str, int]) -> dict[str, int]:
        """Return the working atom of each name in a residue, in the order of writing; add those it lacks."""
        names = {
            made.new_names.get(name, name) if made.parent else name: atom
            for name, atom in old.items()
            if name not in made.removed
        }
        end = names.pop("OXT", None)
        for atom in made.atoms:
            if atom.instead:
                self.elements[old[atom.instead]] = atom.element
            else:
                names[atom.name] = self._new(atom)
        if end is not None:
            names["OXT"] = end
        return names

    def _add_site(
        self,
        parent: str,
        made: Modification,
        old: Mapping[str, int],
        names: Mapping[str, int],
        given: np.ndarray,
        *,
        rebuilt: bool,
    ) -> None:
        side_chain = HEAVY_ATOMS[parent][SLOT_CB:]
        known = {name for name, kept in zip(HEAVY_ATOMS[parent], given, strict=False) if kept}
        keeps = not known.isdisjoint(side_chain)
        placed = tuple(
            (atom, names[atom.name], tuple(names[other] for other in atom.parents))
            for atom in made.atoms
            if atom.instead not in known
        )
        side = tuple(
            (atom, old[atom.name], tuple(old[other] for other in atom.parents))
            for atom in (side_chain_atoms(parent, made.mirrored) if rebuilt else ())
        )
        self.absent += [atom for _, atom, _ in side]
        turned = not rebuilt and not keeps and not made.removed and parent != _RIGID
        turned = turned and any(not atom.instead for atom, _, _ in placed)
        turns = tuple(
            (old[first], old[second], tuple(old[name] for name in _beyond(parent, first, second)))
            for _, first, second, _ in CHI_ATOMS[parent][: int(turned)]
        )
        if side:
            # First the beta carbons of all such residues, which have no choice, as others must avoid them.
            self.first_sites.append(_Site(old["CA"], (), side[:1], ()))
            side = side[1:]
        if side or placed:
            self.sites.append(_Site(old["CA"], turns, side, placed))

    def add_cap(self, index: int, listed: ListedResidue, made: Modification) -> None:
        """Add a cap at the start or end of the chain that a residue begins or ends."""
        residue = self._built.residues[index]
        first = int(self._first[index])
        sign = "+" if made.cap == "start" else "-"
        names = {f"{sign}{name}": first + place for place, name in enumerate(residue.atom_names)}
        own = {}
        for atom in made.atoms:
            own[atom.name] = names[atom.name] = self._new(atom)
        placed = tuple(
            (atom, names[atom.name], tuple(names[other] for other in atom.parents)) for atom in made.atoms
        )
        if made.cap == "start" and residue.name == "PRO":
            # The ring fixes the torsion about N-CA.
            start = (replace(placed[0][0], torsions=(np.pi,)), placed[0][1])
            placed = ((*start, (names["+CD"], names["+CA"], names["+N"])), *placed[1:])
        self._own_bonds += [(names[one], names[other]) for one, other in bonds_of(made)]
        self.planar += [(len(self._residues), name) for name in made.planar]
        self._list(listed, own, list(own.values()))
        self.sites.append(_Site(names[f"{sign}CA"], (), (), placed))
        self.parents.append("")
        self.hydrogens.append(_HydrogenRule(None, made, ""))

    def _new(self, atom: AddedAtom) -> int:
        self.elements.append(atom.element)
        return len(self.elements) - 1

    def _list(self, residue: ListedResidue, names: Mapping[str, int], order: list[int]) -> None:
        name_of = {atom: name for name, atom in names.items()}
        self.order += order
        self._residues.append(
            replace(
                residue,
                atom_names=tuple(name_of.get(atom, "OXT") for atom in order),
                elements=tuple(self.elements[atom] for atom in order),
            )
        )


def _beyond(parent: str, first: str, second: str) -> list[str]:
    """Return the atoms of an amino acid beyond a bond, seen from its first atom, without the second."""
    found, waiting = {first, second}, [second]
    while waiting:
        here = waiting.pop()
        for bond in BONDS[parent]:
            if here in bond:
                (other,) = set(bond) - {here}
                if other not in found:
                    found.add(other)
                    waiting.append(other)
    return [name for name in HEAVY_ATOMS[parent] if name in found - {first, second}]


def _near_in_bonds(bonds: Iterable[tuple[int, int]], count: int) -> list[set[int]]:
    """Return, for each atom, the atoms too few bonds away to overlap, itself included."""
    bonded: list[set[int]] = [set() for _ in range(count)]
    for first, second in bonds:
        bonded[first].add(second)
        bonded[second].add(first)
    near = [{atom} for atom in range(count)]
    for _ in range(_EXCLUDED_BONDS):
        near = [set().union(*(bonded[other] for other in found), found) for found in near]
    return near


class _Chooser:
    """Makes the candidates of a site, and chooses the best in each frame."""

    def __init__(self, site: _Site, radii: np.ndarray, near: Sequence[set[int]]) -> None:
        self._site = site
        used = {site.anchor}
        for first, second, beyond in site.turns:
            used |= {first, second, *beyond}
        for _, index, parents in (*site.rebuilt, *site.placed):
            used |= {index, *parents}
        self._used = np.array(sorted(used), dtype=np.int64)
        self._local = {int(atom): place for place, atom in enumerate(self._used)}
        moved = {index for _, index, _ in (*site.rebuilt, *site.placed)}
        moved |= {atom for _, _, beyond in site.turns for atom in beyond}
        self._moved = np.array(sorted(moved), dtype=np.int64)
        self._moved_local = np.array([self._local[int(atom)] for atom in self._moved], dtype=np.int64)
        torsions = (len(atom.torsions) for atom, _, _ in (*site.rebuilt, *site.placed))
        self._n_candidates = len(_TURNS) ** len(site.turns) * math.prod(torsions)
        self._radii = radii
        self._excluded = [np.array(sorted(near[int(atom)]), dtype=np.int64) for atom in self._moved]
        pairs = [
            (one, other)
            for one, atom in enumerate(self._moved)
            for other in range(one + 1, len(self._moved))
            if int(self._moved[other]) not in near[int(atom)]
        ]
        self._pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)

    def place(self, built: np.ndarray, working: np.ndarray) -> None:
        """Set the atoms of the site in working frames (frames, atoms, 3), given the frames as built."""
        together = max(1, _POSITIONS_AT_A_TIME // (self._n_candidates * len(self._used)))
        for first in range(0, len(built), together):
            part = slice(first, first + together)
            candidates, cost = self._candidates(built[part], working[part])
            for frame, places in zip(working[part], candidates, strict=True):
                frame[self._moved] = np.nan
                best = int((cost + self._overlap(places, frame)).argmin()) if len(cost) > 1 else 0
                frame[self._moved] = places[best]

    def _candidates(self, built: np.ndarray, working: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return candidates (frames, candidates, moved, 3) in nm and their costs (candidates,)."""
        places, cost, local = working[:, None, self._used], np.zeros(1), self._local
        exist = self._used < built.shape[1]
        as_built = built[:, None, self._used[exist]]
        places[:, :, exist] = np.where(np.isnan(places[:, :, exist]), as_built, places[:, :, exist])
        for first, second, beyond in self._site.turns:
            moving = [local[atom] for atom in beyond]
            turned = [_turned(places, local[first], local[second], moving, angle) for angle in _TURNS]
            places, cost = np.concatenate(turned, axis=1), np.repeat(list(_TURNS.values()), len(cost))
        for step in self._site.rebuilt:
            places, cost = self._with(step, places, places, cost)
        parents = places
        for step in self._site.placed:
            repeated = len(step[0].torsions)
            places, cost = self._with(step, places, parents, cost)
            parents = np.concatenate([parents] * repeated, axis=1)
        return places[:, :, self._moved_local], cost

    def _with(
        self, step: _Placed, places: np.ndarray, parents: np.ndarray, cost: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Place an atom in candidates (frames, candidates, used, 3), once for each of its torsions.

        ``parents`` are the same candidates with the atoms of the parent residue where they were.
        """
        atom, index, named = step
        *ends, own = (self._local[other] for other in (*named, index))
        options = []
        for torsion in atom.torsions:
            if torsion is None:
                angle = _torsion(*(parents[:, :, end] for end in (*ends, own)))
            else:
                angle = np.full((1, 1), torsion)
            option = places.copy()
            a, b, c = (option[:, :, end] for end in ends)
            option[:, :, own] = _placed(a, b, c, atom.length, atom.angle, angle)
            options.append(option)
        costs = [cost + place * _TORSION_COST for place in range(len(options))]
        return np.concatenate(options, axis=1), np.concatenate(costs)

    def _overlap(self, places: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return the squared relative overlaps of candidates (candidates, moved, 3) with a frame's atoms."""
        centre = frame[self._site.anchor]
        apart = frame - centre
        reach = np.sqrt(np.max(_dot(places - centre, places - centre))) + _WIDEST_CONTACT_NM
        near = np.flatnonzero(_dot(apart, apart) < reach**2)
        total = np.zeros(len(places))
        for moved, atom in enumerate(self._moved):
            others = np.setdiff1d(near, self._excluded[moved])
            contact = self._radii[atom] + self._radii[others]
            between = places[:, moved, None] - frame[others]
            total += _squared_overlap(between, contact)
        first, second = self._pairs.T
        contact = self._radii[self._moved[first]] + self._radii[self._moved[second]]
        return total + _squared_overlap(places[:, first] - places[:, second], contact)


def _squared_overlap(between: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """Sum over pairs, (candidates,): given vectors (candidates, pairs, 3) and contacts (pairs,) in nm."""
    distance = np.sqrt(_dot(between, between))
    return (np.maximum(0.0, 1.0 - distance / contact) ** 2).sum(axis=-1)


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return scalar products (...) of vectors (..., 3), summed in the same order for any batch."""
    product = first * second
    return product[..., 0] + product[..., 1] + product[..., 2]


def _placed(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, length: float, angle: float, torsion: np.ndarray
) -> np.ndarray:
    """Return positions (..., 3) at a distance from c, with an angle from b and torsions (...) from a."""
    along = unit(c - b)
    normal = unit(np.cross(b - a, along))
    across = np.cross(normal, along)
    sine, cosine = np.sin(torsion)[..., None], np.cos(torsion)[..., None]
    return c + length * (-np.cos(angle) * along + np.sin(angle) * (cosine * across + sine * normal))


def _torsion(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return torsions (...) in radians about the bond from b to c, given positions (..., 3)."""
    axis = unit(c - b)
    before, after = np.cross(b - a, axis), np.cross(axis, d - c)
    return np.arctan2(_dot(np.cross(before, after), axis), _dot(before, after))


def _turned(places: np.ndarray, first: int, second: int, moving: Sequence[int], angle: float) -> np.ndarray:
    """Turn atoms of places (..., atoms, 3) about the bond from one atom to another."""
    if not angle:
        return places
    turned = places.copy()
    origin = places[..., second, None, :]
    axis = unit(origin - places[..., first, None, :])
    arms = places[..., moving, :] - origin
    along = _dot(arms, axis)[..., None] * axis
    turned[..., moving, :] = (
        origin + along + np.cos(angle) * (arms - along) + np.sin(angle) * np.cross(axis, arms)
    )
    return turned
