"""Linear regression of a frame's scaled coordinates on the condition, with decorrelated residuals."""

import math

import torch
from torch import Tensor, nn

_RIDGE = 0.03
"""Penalty on the weights per frame, for features and coordinates of unit variance."""

_SHRINKAGE = 0.05
"""Shrinkage of the residuals' covariance towards its diagonal, so that few frames suffice."""


class Regression(nn.Module):
    """Splits scaled coordinates into a prediction from the condition and independent innovations.

    coordinates = offset + weight features + factor innovations, where the innovations have unit covariance
    over the data. The features are the condition and the second and third harmonics of the free torsions of
    the newest previous frame, in which a linear model can describe rotamers.

    Parameters
    ----------
    condition : int
        Size of the condition, whose end is the scaled coordinates of the newest previous frame.
    size : int
        Number of scaled coordinates, four blocks of ``size / 4`` as :class:`ScaledCoordinates` makes them.
    """

    free: Tensor
    weight: Tensor
    offset: Tensor
    factor: Tensor

    def __init__(self, condition: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("free", torch.zeros(size // 4, dtype=torch.bool))
        self.register_buffer("weight", torch.zeros(condition + size, size))
        self.register_buffer("offset", torch.zeros(size))
        self.register_buffer("factor", torch.eye(size))

    @torch.no_grad()
    def fit(self, condition: Tensor, scaled: Tensor, varies: Tensor) -> None:
        """Fit all parameters to data.

        Parameters
        ----------
        condition : Tensor, (frames, condition)
        scaled : Tensor, (frames, size)
        varies : Tensor, (size,) bool
            Coordinates that are not constant; the second number of a torsion varies if it is free.
        """
        self.free.copy_(varies[-len(self.free) :])
        features, target = self._features(condition).double(), scaled.double()
        centre, mean = features.mean(dim=0), target.mean(dim=0)
        features, target = features - centre, target - mean
        ridge = _RIDGE * len(features) * torch.eye(features.shape[1], dtype=features.dtype)
        weight = torch.linalg.solve(features.T @ features + ridge.to(features), features.T @ target)
        residual = target - features @ weight
        covariance = residual.T @ residual / len(residual)
        covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * covariance.diagonal().diag()
        covariance += (~varies).to(covariance).diag()
        self.weight.copy_(weight)
        self.offset.copy_(mean - centre @ weight)
        self.factor.copy_(torch.linalg.cholesky(covariance))

    def innovations(self, scaled: Tensor, condition: Tensor) -> Tensor:
        """Return the innovations of scaled coordinates (batch, size) given a condition (batch, condition)."""
        residual = scaled - self._predict(condition)
        return torch.linalg.solve_triangular(self.factor.T, residual, upper=True, left=False)

    def coordinates(self, innovations: Tensor, condition: Tensor) -> Tensor:
        """Return scaled coordinates (batch, size) from innovations (batch, size) and a condition."""
        return self._predict(condition) + innovations @ self.factor.T

    def _predict(self, condition: Tensor) -> Tensor:
        return self.offset + self._features(condition) @ self.weight

    def _features(self, condition: Tensor) -> Tensor:
        """Return the condition and the harmonics of the newest torsions, zero if not free."""
        _, _, first, second = condition[:, -self.size :].chunk(4, dim=-1)
        cosine, sine = first / math.sqrt(2.0), second / math.sqrt(2.0)
        square, cube = cosine.square(), cosine.square() - 3 * sine.square()
        third = (3 * square - sine.square()) * sine
        harmonics = [square - sine.square(), 2 * cosine * sine, cosine * cube, third]
        return torch.cat([condition] + [part * self.free for part in harmonics], dim=-1)
