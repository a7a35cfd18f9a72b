"""Forces to learn from mapped forces and from noise on the beads, combined so that they vary least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backmap.datasets.mapped_forces import FEWEST_FRAMES, MappedForces


@dataclass(frozen=True)
class ForcesAndNoise:
    """Forces on beads with noise, from the forces on the beads without it.

    Let noise be added to every coordinate of the beads, ``y = x + noise_nm e`` with standard normal ``e``.
    The potential of mean force of ``y`` has two estimates of its force, whose mean over all ``x`` and ``e``
    of one ``y`` is the same: the mapped force ``F(x)``, and that of the noise, ``-kT e / noise_nm``, which is
    denoising score matching (Vincent, Neural Computation 23, 1661, 2011; for beads, Arts et al., J. Chem.
    Theory Comput. 19, 6151, 2023). So has ``W F(x) - (1 - W) kT e / noise_nm`` for any matrix W between the
    beads, and the W whose mean square is least leaves the least noise (Durumeric et al., arXiv:2407.01286,
    2024, who write it as a force mapping that includes the noise). As ``e`` knows nothing of ``x``, it is

    ``W = s (C + s)^-1``, with ``s = (kT / noise_nm)^2`` and ``C[I, J] = <F_I . F_J> / 3``,

    for one bead the weight by inverse variances, ``s / (c + s)``. Frames that came without forces teach by
    noise only; their forces vary more, so that they count less in the fit (:meth:`confidence`).

    Parameters
    ----------
    noise_nm : float
        Standard deviation of the noise on each coordinate; 0: mapped forces as they are.
    kt : float
        Thermal energy in kJ/mol.
    weights : ndarray, (beads, beads) float64
        W: what each bead takes of the mapped force on each bead.
    """

    noise_nm: float
    kt: float
    weights: np.ndarray

    @classmethod
    def optimal(cls, frames: MappedForces, noise_nm: float, kt: float) -> ForcesAndNoise:
        """Choose the weights whose forces vary least.

        Parameters
        ----------
        frames : MappedForces
            Beads and forces.
        noise_nm, kt : float
            As above.

        Raises
        ------
        ValueError
            If a few frames have nearly all the weight, for the force of noise is that of the ensemble that
            the frames were drawn from, so that a bias on beads does change it; or if frames have no forces
            and there is no noise.
        """
        unit, known = np.eye(frames.beads.shape[1]), frames.has_forces
        if not noise_nm:
            if not known.all():
                raise ValueError("trajectories without forces teach by noise only; set model.noise_nm")
            return cls(0.0, kt, unit)
        worth = float(frames.weights.sum() ** 2 / np.square(frames.weights).sum())
        if worth < FEWEST_FRAMES:
            raise ValueError(
                f"the weights of biased frames leave as much as {worth:.0f} frames of the unbiased ensemble "
                f"to learn from noise, and it takes {FEWEST_FRAMES}; set model.noise_nm to 0 or simulate "
                "without a bias"
            )
        shares = frames.weights[known] / frames.weights[known].sum()
        forces = frames.forces[known].astype(np.float64)
        covariance = np.einsum("f,fix,fjx->ij", shares, forces, forces, optimize=True)
        noise = (kt / noise_nm) ** 2 * unit
        return cls(noise_nm, kt, np.linalg.solve(covariance / 3 + noise, noise))

    def rows(self, frames: MappedForces, at: np.ndarray) -> np.ndarray:
        """Return the frames at some places (n,) from 0 to 1 of all of them, by their weights with noise."""
        if not self.noise_nm:
            return (at * len(frames)).astype(np.int64)
        filled = np.cumsum(frames.weights)
        return np.searchsorted(filled, at * filled[-1], side="right").clip(max=len(frames) - 1)

    def draw(
        self, beads: np.ndarray, forces: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add noise to beads, and return them with the forces to learn.

        Parameters
        ----------
        beads, forces : ndarray, (frames, beads, 3) float32
            In nm and kJ/mol/nm.
        generator : Generator
            Source of the noise.
        """
        if not self.noise_nm:
            return beads, forces
        noise = generator.standard_normal(beads.shape, dtype=np.float32)
        weights = self.weights.astype(np.float32)
        of_noise = np.float32(-self.kt / self.noise_nm) * noise
        more = np.where(np.isfinite(forces), forces - of_noise, np.float32(0.0))
        return beads + np.float32(self.noise_nm) * noise, of_noise + weights @ more

    def confidence(self, forces: np.ndarray) -> np.ndarray:
        """Return what the forces to learn (frames, beads, 1) count in the fit, float32.

        1 with mapped forces; without, the ratio of variances: ``s (1 - W)`` with and ``s`` without them.
        """
        without = (1.0 - self.weights.diagonal()).astype(np.float32)[:, None]
        return np.where(np.isfinite(forces[:, :1, :1]), np.ones_like(without), without)
