"""The interface of the conditional autoencoders."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Observation(NamedTuple):
    """Input of the encoder; includes the condition, which the decoder sees too.

    Attributes
    ----------
    everything : Tensor
        Present frame, beads and previous frames.
    condition : Tensor
        Beads and previous frames only.
    """

    everything: Tensor
    condition: Tensor


class Posterior(NamedTuple):
    """Normal distribution of the latent code of a frame: mean and log variance (batch, latent)."""

    mean: Tensor
    log_variance: Tensor


class Decoded(NamedTuple):
    """A decoded frame.

    Attributes
    ----------
    coordinates : Tensor, (batch, atoms, 3)
        In nm, oriented as the beads; the centre is arbitrary.
    output : Tensor
        Output of the network: logits of densities, or scaled internal coordinates.
    """

    coordinates: Tensor
    output: Tensor


class Autoencoder(Protocol):
    """A conditional variational autoencoder of frames; coordinates in nm.

    Frames are (batch, atoms, 3), beads (batch, beads, 3), previous frames (batch, previous_frames, atoms, 3),
    the newest last.
    """

    @property
    def latent(self) -> int:
        """Size of the latent code."""

    @property
    def normals_per_frame(self) -> int:
        """Normal random numbers per frame for the decoder's own noise."""

    def fit(self, frame: Tensor, previous: Tensor) -> None:
        """Fit the parts that are not trained to training frames, before training."""

    def observe(self, frame: Tensor, beads: Tensor, previous: Tensor) -> Observation:
        """Return the input of the encoder."""

    def condition(self, beads: Tensor, previous: Tensor) -> Tensor:
        """Return the condition, which the decoder sees."""

    def encode(self, observation: Observation) -> Posterior:
        """Return the distribution of the latent code."""

    def decode(
        self, code: Tensor, condition: Tensor, beads: Tensor, normals: Tensor | None = None
    ) -> Decoded:
        """Return the frame of a latent code; normals (batch, normals_per_frame) add decoder noise, if any."""

    def reconstruction_loss(self, decoded: Decoded, frame: Tensor, observation: Observation) -> Tensor:
        """Return the misfit of frames decoded without noise, averaged over the batch."""
