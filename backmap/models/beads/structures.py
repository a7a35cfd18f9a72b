"""Structures on beads: C-alphas estimated or drawn, atoms drawn and fitted. For TorchScript, too."""

from typing import Final, NamedTuple, Optional

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_SLOTS, SLOT_CA
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.beads.evidence import BeadEvidence, BeadTable, c_alpha_is_main, of_samples
from backmap.models.beads.fitting import BeadFit
from backmap.models.beads.redrawing import put_in_redrawn
from backmap.models.beads.rigid_distances import RigidDistances, RigidPairs
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.model import ProteinModel
from backmap.models.protein.obstacles import Obstacles

REDRAWS = 3
"""How often a frame with strained residues is drawn again."""

SEED_OF_REDRAWS = 0x5EED_BEAD
"""Added to the seed, so that redrawn frames have random numbers of their own."""

EXACT_BEADS = -1.0
"""In place of a noise: all beads are exact, and atoms are strained rather than off their beads."""

NO_NOISE_NM = 1e-6
"""Noise of such beads in the fit."""


class BeadedChain(NamedTuple):
    """A protein and its beads, from :meth:`BeadStructures.prepare`.

    Attributes
    ----------
    chain : Chain
        The sequence.
    table : BeadTable
        The beads of every frame.
    atom_slots : Tensor, (beads,) int64
        Slot of the atom that a bead is; -1 for means of several atoms.
    terms : dict of str to Tensor
        Bonds, angles and contacts, from :meth:`BeadFit.prepare`.
    rigid : RigidPairs
        Distances that hardly vary.
    """

    chain: Chain
    table: BeadTable
    atom_slots: Tensor
    terms: dict[str, Tensor]
    rigid: RigidPairs


class BeadFrames(NamedTuple):
    """Frames, with what their beads tell.

    Attributes
    ----------
    draws : Tensor, (frames,) bool
        Whether their C-alphas are drawn; otherwise they are exact.
    noise_nm : Tensor, (frames,) float32
        Largest standard deviation of a coordinate of a bead.
    evidence : BeadEvidence
        Their beads.
    c_alpha : Tensor, (frames, residues, 3)
        Estimated C-alphas in nm.
    spread : Tensor, (frames, residues) float64
        Standard deviation of a coordinate of a C-alpha in nm.
    numbers : Tensor, (frames,) int64
        Numbers of the frames.
    box : Tensor, (frames, 3, 3), optional
        Vectors of periodic boxes in nm, as rows, in reduced form.
    obstacles : Obstacles, optional
        Sites of other molecules.
    """

    draws: Tensor
    noise_nm: Tensor
    evidence: BeadEvidence
    c_alpha: Tensor
    spread: Tensor
    numbers: Tensor
    box: Optional[Tensor]  # noqa: UP045  # TorchScript
    obstacles: Optional[Obstacles]  # noqa: UP045


def take_frames(frames: BeadFrames, rows: Tensor) -> BeadFrames:
    """Return the frames ``rows`` (n,)."""
    evidence, box, obstacles = frames.evidence, frames.box, frames.obstacles
    if box is not None:
        box = box[rows]
    if obstacles is not None:
        obstacles = Obstacles(obstacles.positions.index_select(-3, rows), obstacles.radii)
    return BeadFrames(
        frames.draws[rows],
        frames.noise_nm[rows],
        BeadEvidence(evidence.table, evidence.positions[rows], evidence.noise_nm[rows]),
        frames.c_alpha[rows],
        frames.spread[rows],
        frames.numbers[rows],
        box,
        obstacles,
    )


def alike(frames: BeadFrames) -> list[Tensor]:
    """Return frames that are built alike: those whose C-alphas are drawn, and those whose are exact.

    Each is built among its like, so that no frame depends on the others of its batch.
    """
    found: list[Tensor] = []
    for draws in (frames.draws, ~frames.draws):
        rows = torch.nonzero(draws).squeeze(-1)
        if len(rows) > 0:
            found.append(rows)
    return found


class BeadStructures(nn.Module):
    """Draws structures of proteins on beads.

    Parameters
    ----------
    model : ProteinModel
        Draws structures on C-alphas.
    estimator : CAlphaEstimator, optional
        Estimates C-alphas; not needed if the C-alpha of each residue is a bead.
    """

    slots: Final = ATOM_SLOTS
    slot_ca: Final = SLOT_CA
    redraws: Final = REDRAWS
    seed_of_redraws: Final = SEED_OF_REDRAWS
    exact_beads: Final = EXACT_BEADS
    no_noise_nm: Final = NO_NOISE_NM

    def __init__(self, model: ProteinModel, estimator: CAlphaEstimator | None = None) -> None:
        super().__init__()
        self.model = model
        self.estimator = estimator
        self.c_alphas = CAlphaPosterior()
        self.fit = BeadFit()
        self.rigid = RigidDistances()

    def prepare(self, chain: Chain, table: BeadTable) -> BeadedChain:
        """Find out what all other methods need to know of a protein with these beads.

        Raises
        ------
        ValueError
            If its beads need an estimator of C-alphas.
        """
        if self.estimator is None and not bool(c_alpha_is_main(table, chain.n_residues).all()):
            raise ValueError("these beads need an estimator of C-alphas")
        largest, slot = table.weights.max(dim=1)
        return BeadedChain(
            chain,
            table,
            torch.where(largest == 1.0, slot, -1),
            self.fit.prepare(chain, table),
            self.rigid.find(table, chain),
        )

    def describe(
        self,
        beads: Tensor,
        protein: BeadedChain,
        numbers: Tensor,
        bead_noise: float,
        least_noise_nm: float = 0.0,
        box: Tensor | None = None,
        obstacles: Obstacles | None = None,
    ) -> BeadFrames:
        """Find out what the beads of frames tell.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3) float32
            In nm, molecules whole.
        protein : BeadedChain
            From :meth:`prepare`.
        numbers : Tensor, (frames,) int64
            Numbers of the frames; they determine the random numbers.
        bead_noise : float
            Standard deviation in nm of a coordinate of a bead; 0 estimates it in each frame, and
            :data:`EXACT_BEADS` takes them as exact.
        least_noise_nm : float
            Lower bound on estimated noise.
        box : Tensor, (frames, 3, 3) float32, optional
            Vectors of periodic boxes in nm, as rows, in reduced form.
        obstacles : Obstacles, optional
            Sites of other molecules, relative to the same origin, which side chains avoid.
        """
        estimate, deviation = self._estimate(beads, protein)
        noise = torch.full_like(deviation, max(bead_noise, 0.0))
        if bead_noise == 0.0:
            noise = self._noise(beads, estimate, protein, least_noise_nm)
        draws = (noise > 0).any(dim=1) | (deviation > 0).any(dim=1)
        largest = noise.amax(dim=1).float()
        allowed = largest.clamp_min(self.no_noise_nm) if bead_noise == self.exact_beads else largest
        return BeadFrames(
            draws,
            largest,
            BeadEvidence(protein.table, beads, allowed),
            estimate,
            (deviation.square() + noise.square()).sqrt(),
            numbers,
            box,
            obstacles,
        )

    def build(
        self,
        frames: BeadFrames,
        protein: BeadedChain,
        samples: int,
        seed: int,
        disulfides: Tensor | None = None,
    ) -> Tensor:
        """Build all heavy atoms of frames.

        Parameters
        ----------
        frames : BeadFrames
            From :meth:`describe`.
        protein : BeadedChain
            From :meth:`prepare`.
        samples : int
            Independent structures per frame.
        seed : int
            Seed of the random numbers.
        disulfides : Tensor, (bonds, 2) int64, optional
            Known disulfide bonds, as for :meth:`ProteinModel.draw`.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3)
            In nm.
        """
        n_frames, n_residues = frames.c_alpha.shape[0], frames.c_alpha.shape[1]
        atoms = frames.c_alpha.new_zeros([samples, n_frames, n_residues, self.slots, 3])
        for rows in alike(frames):
            part = take_frames(frames, rows)
            atoms[:, rows] = self.repaired(atoms[:, rows], part, protein, seed, disulfides, 0)
        return atoms

    def draw(
        self,
        frames: BeadFrames,
        protein: BeadedChain,
        samples: int,
        seed: int,
        disulfides: Tensor | None = None,
    ) -> Tensor:
        """Draw frames that are built alike, and fit them; arguments and result are those of :meth:`build`."""
        c_alpha = self.draw_c_alphas(frames, protein, samples, seed)
        keys = stream_keys(seed, samples, frames.numbers)
        given = self.given(frames, protein)
        atoms = self.model.draw(
            c_alpha, protein.chain, keys, given, frames.box, disulfides, frames.evidence, frames.obstacles
        )
        return self.fitted(atoms, frames, protein)

    def draw_c_alphas(
        self,
        frames: BeadFrames,
        protein: BeadedChain,
        samples: int,
        seed: int,
        wandering: Tensor | None = None,
        turns: Tensor | None = None,
    ) -> Tensor:
        """Return C-alphas (frames, residues, 3), or (samples, frames, residues, 3) where they are drawn.

        As for C-alphas that are noisy, the random numbers do not depend on the frame, unless they wander
        (:meth:`CAlphaPosterior.forward`).
        """
        if not bool(frames.draws[0]):
            return frames.c_alpha
        keys = stream_keys(seed, samples, torch.zeros_like(frames.numbers))
        drawn, _ = self.c_alphas(
            frames.c_alpha, protein.chain, keys, frames.box, 0.0, frames.spread, wandering, turns
        )
        return drawn

    def repaired(
        self,
        atoms: Tensor,
        frames: BeadFrames,
        protein: BeadedChain,
        seed: int,
        disulfides: Tensor | None = None,
        first_attempt: int = 1,
    ) -> Tensor:
        """Return atoms (samples, frames, residues, 15, 3) with strained residues drawn again.

        At attempt 0 all are drawn. (One loop for both: TorchScript would compile the drawing twice.)
        """
        for attempt in range(first_attempt, self.redraws + 1):
            strained = self.fit.strained(atoms, protein.terms).any(dim=-1).any(dim=0)
            rows = torch.nonzero(strained | (attempt == 0)).squeeze(-1)
            if len(rows) == 0:
                break
            again = take_frames(frames, rows)
            other_seed = seed + attempt * self.seed_of_redraws
            redrawn = self.draw(again, protein, atoms.shape[0], other_seed, disulfides)
            if attempt > 0:
                redrawn = self._replace_strained(atoms[:, rows], redrawn, again, protein)
            atoms[:, rows] = redrawn
        return atoms

    def fitted(self, atoms: Tensor, frames: BeadFrames, protein: BeadedChain) -> Tensor:
        """Fit atoms (samples, frames, residues, 15, 3) to their beads, unless these are all given atoms."""
        if bool((protein.atom_slots >= 0).all()) and self.given(frames, protein) is not None:
            return atoms
        samples, box = atoms.shape[0], frames.box
        if box is not None:
            box = box.repeat(samples, 1, 1)
        evidence = of_samples(frames.evidence, samples)
        return self.fit.fit(atoms.flatten(0, 1), evidence, protein.terms, box).view_as(atoms)

    def given(self, frames: BeadFrames, protein: BeadedChain) -> Given | None:
        """Return the beads that are exactly atoms, if there are any besides the C-alphas."""
        slots = protein.atom_slots
        if bool(frames.draws[0]) or not bool(((slots >= 0) & (slots != self.slot_ca)).any()):
            return None
        positions, seen = frames.evidence.positions, slots >= 0
        rows, slots = protein.table.residues[seen], slots[seen]
        n_residues = protein.chain.n_residues
        present = torch.zeros([n_residues, self.slots], dtype=torch.bool, device=positions.device)
        present[rows, slots] = True
        atoms = positions.new_zeros([positions.shape[0], n_residues, self.slots, 3])
        atoms[:, rows, slots] = positions[:, seen]
        return Given(atoms, present)

    def _estimate(self, beads: Tensor, protein: BeadedChain) -> tuple[Tensor, Tensor]:
        """Return C-alphas (frames, residues, 3) and their standard deviations (frames, residues) in nm."""
        if self.estimator is None:
            c_alpha = beads[:, torch.nonzero(protein.table.columns == 0).squeeze(-1)]
            return c_alpha, torch.zeros_like(c_alpha[:, :, 0], dtype=torch.float64)
        else:  # noqa: RET505  # TorchScript compiles the branch that applies
            estimate, deviation = self.estimator(beads, protein.table, protein.chain)
            return estimate, deviation.double()

    def _noise(self, beads: Tensor, estimate: Tensor, protein: BeadedChain, least_noise_nm: float) -> Tensor:
        """Return the estimated noise (frames, residues) in nm of beads."""
        chain = protein.chain
        if self.estimator is None:
            exact = estimate.double()
            spread = self.c_alphas.bond_spread(exact, chain)
            noise, moves = self.c_alphas.estimate_noise(exact, chain, spread, least_noise_nm)
            found = self.rigid.noise(beads, protein.rigid)[:, None]
            of_atoms = found.clamp_min(least_noise_nm).expand_as(noise)
            return torch.where(found > 0, of_atoms, noise * moves[:, None])
        else:  # noqa: RET505
            found = self.estimator.estimate_noise(beads, estimate, protein.table, chain)
            return found.clamp_min(least_noise_nm)[:, None].expand(-1, chain.n_residues)

    def _replace_strained(
        self, atoms: Tensor, redrawn: Tensor, frames: BeadFrames, protein: BeadedChain
    ) -> Tensor:
        """Replace strained residues and their neighbours by redrawn ones that are sound.

        Each structure stays as it is if it would then have no fewer strained residues.
        """
        strained = self.fit.strained(atoms, protein.terms)
        still = self.fit.strained(redrawn, protein.terms)
        joined = put_in_redrawn(atoms, redrawn, strained, still, protein.chain)
        joined = self.fitted(joined, frames, protein)
        better = self.fit.strained(joined, protein.terms).sum(dim=-1) < strained.sum(dim=-1)
        return torch.where(better[..., None, None, None], joined, atoms)
