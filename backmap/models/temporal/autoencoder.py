"""What the two conditional autoencoders have in common."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Observation(NamedTuple):
    """What the encoder sees; the condition, which the decoder sees too, is a part of it.

    Attributes
    ----------
    everything : Tensor
        Present frame, beads and previous frames.
    condition : Tensor
        Beads and previous frames alone.
    """

    everything: Tensor
    condition: Tensor


class Posterior(NamedTuple):
    """Normal distribution of the latent code of a frame, (batch, latent) each."""

    mean: Tensor
    log_variance: Tensor


class Decoded(NamedTuple):
    """A decoded frame.

    Attributes
    ----------
    coordinates : Tensor, (batch, atoms, 3)
        In nm, oriented as the beads; where its centre lies is not defined.
    output : Tensor
        What the network gave: logits of densities, or scaled internal coordinates.
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
        """Normal numbers that the decoder's own noise takes per frame."""

    def observe(self, frame: Tensor, beads: Tensor, previous: Tensor) -> Observation:
        """Describe what the encoder sees."""

    def condition(self, beads: Tensor, previous: Tensor) -> Tensor:
        """Describe what the decoder sees."""

    def encode(self, observation: Observation) -> Posterior:
        """Distribution of the latent code."""

    def decode(
        self, code: Tensor, condition: Tensor, beads: Tensor, normals: Tensor | None = None
    ) -> Decoded:
        """Frame of a latent code; normals (batch, normals_per_frame) add the decoder's own noise, if any."""

    def reconstruction_loss(self, decoded: Decoded, frame: Tensor, observation: Observation) -> Tensor:
        """How badly a frame decoded without noise fits the true one, averaged over the batch."""
