"""A perceptron with residual layers."""

from torch import Tensor, nn
from torch.nn import functional


class ResidualNetwork(nn.Module):
    """Perceptron with residual layers: x + Dropout(W2 SiLU(W1 LayerNorm(x))).

    Parameters
    ----------
    size_in, size_out : int
        Sizes of input and output.
    width, layers : int
        Width and number of the residual layers.
    dropout : float
        Fraction of hidden activations dropped in training.
    """

    def __init__(self, size_in: int, size_out: int, width: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.enter = nn.Linear(size_in, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(layers)
        )
        self.leave = nn.Linear(width, size_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, size_in) to (batch, size_out)."""
        x = self.dropout(self.enter(x))
        for layer in self.layers:
            x = x + self.dropout(layer(x))
        return self.leave(functional.silu(x))
