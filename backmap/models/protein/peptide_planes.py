"""The backbone: one angle per peptide plane, drawn along the chain, each given the previous one.

For neighbours i, i+1 the axis e1 runs from CA_i to CA_{i+1}, e2 is the part of CA_{i-1} - CA_i orthogonal to
it, e3 = e1 x e2. C, O and N lie in a plane through the axis; the angle is the angle of O about e1, from e2.
"""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import backmap.ops  # noqa: F401  # registers the operators
from backmap.chemistry import NO_RESIDUE
from backmap.models.chain import Chain
from backmap.models.protein.config import PeptidePlaneConfig
from backmap.models.protein.geometry import (
    PeptideTemplate,
    angle_in_class,
    classify_angle,
    mean_backbone_angle,
)
from backmap.models.protein.joints import JointPenalty, Joints
from backmap.models.protein.neighbourhood import (
    Neighbourhood,
    NeighbourhoodEncoder,
    Trunk,
    cut_neighbourhood,
)

_WINDOW = (-2, -1, 1, 2, 3)
_TYPE_WINDOW = (-1, 0, 1, 2)
_TYPE_WIDTH = 16
_OWN_WIDTH = len(_WINDOW) * 4 + len(_TYPE_WINDOW) * _TYPE_WIDTH


class PeptideSites(NamedTuple):
    """Input of the network for each residue's peptide to its successor, over frames x residues sites.

    Attributes
    ----------
    neighbourhood : Neighbourhood
        C-alphas nearest to the middle of the axis.
    window : Tensor, (n, 20)
        C-alphas i-2 ... i+3 in the frame (nm, zero beyond a chain end) and whether they exist.
    types : Tensor, (n, 4) uint8
        Residue types i-1 ... i+2.
    before : Tensor, (n, 3, 7)
        Coefficients (constant, cosine, sine) of the contribution of the previous peptide: its C and N in this
        frame, as a function of its angle, and whether it exists.
    """

    neighbourhood: Neighbourhood
    window: Tensor
    types: Tensor
    before: Tensor


class EncodedPeptides(NamedTuple):
    """Everything needed to draw an angle besides the previous angle, over (frames, residues).

    Attributes
    ----------
    context : Tensor, (frames, residues, head_width)
        Contribution of the C-alphas.
    before : Tensor, (frames, residues, 3, head_width)
        Contribution of the previous peptide: coefficients of (1, cosine, sine) of its angle.
    nitrogen : Tensor, (frames, residues, 3, 3)
        N of the previous peptide in this frame in nm, as coefficients of (1, cosine, sine) of its angle; zero
        without a previous peptide.
    carbon : Tensor, (frames, residues, 2)
        C along and across the axis in nm.
    forms, kinds : Tensor
        As in :class:`Joints`.
    ahead : Tensor, (frames, residues, classes)
        Log-share of the next peptide's probability that the penalties leave for each class of this one, from
        :meth:`PeptidePlaneNetwork.remaining`; zero without a next peptide. Log-likelihoods of given atoms are
        added by :meth:`PeptidePlaneNetwork.inform`.
    known : Tensor, (frames, residues)
        Angle in radians of peptides with a given atom; NaN for the others.
    """

    context: Tensor
    before: Tensor
    nitrogen: Tensor
    carbon: Tensor
    forms: Tensor
    kinds: Tensor
    ahead: Tensor
    known: Tensor


class PeptideFrames(NamedTuple):
    """Frames of the peptides.

    Attributes
    ----------
    axes : Tensor, (frames, residues, 3, 3)
        Rows e1, e2, e3.
    distance : Tensor, (frames, residues)
        CA-CA in nm.
    plane : Tensor, (frames, residues, 3, 2)
        C, O and N along and across the axis, from :class:`PeptideTemplate`.
    """

    axes: Tensor
    distance: Tensor
    plane: Tensor


def _triangle(c_alpha: Tensor, chain: Chain) -> Tensor:
    """Return points (CA_{i-1}, CA_i, CA_{i+1}); CA_{i+2} replaces a missing CA_{i-1}."""
    after = chain.shift(c_alpha, 1, 0.0, dim=1)
    second = chain.shift(c_alpha, 2, 0.0, dim=1)
    before = chain.shift(c_alpha, -1, 0.0, dim=1)
    has_before, has_second = chain.has_neighbour(-1)[:, None], chain.has_neighbour(2)[:, None]
    reference = torch.where(has_before, before, torch.where(has_second, second, c_alpha))
    after = torch.where(chain.linked[:, None], after, c_alpha)
    return torch.stack([reference, c_alpha, after], dim=2)


def _before(c_alpha: Tensor, frames: PeptideFrames, chain: Chain) -> Tensor:
    """Return C and N of the previous peptide in this frame, as (constant, cosine, sine) of its angle."""
    e1, e2, e3 = frames.axes.unbind(dim=2)
    backward = c_alpha - chain.shift(c_alpha, 1, 0.0, dim=1)
    coefficients = []
    for atom, from_end in ((0, False), (2, True)):
        along, across = frames.plane[:, :, atom, :1], frames.plane[:, :, atom, 1:]
        constant = along * e1 if from_end else along * e1 + backward
        terms = torch.stack([constant, across * e2, across * e3], dim=2)
        terms = chain.shift(terms, -1, 0.0, dim=1)
        coefficients.append(torch.matmul(terms, frames.axes.transpose(2, 3)))
    there = chain.has_neighbour(-1).to(c_alpha.dtype)
    flag = torch.zeros_like(coefficients[0][..., :1])
    flag[:, :, 0, 0] = there
    coefficients.append(flag)
    return torch.cat(coefficients, dim=-1) * there[:, None, None]


def place_peptides(c_alpha: Tensor, frames: PeptideFrames, angle: Tensor, twist: Tensor) -> Tensor:
    """Place C and O of residue i and N of residue i + 1 from the peptide's angle.

    Parameters
    ----------
    c_alpha : Tensor, (frames, residues, 3)
        In nm.
    frames : PeptideFrames
        From :meth:`PeptidePlaneNetwork.describe`.
    angle : Tensor, (frames, residues)
        In radians.
    twist : Tensor, (frames, residues)
        Rotation of N about the axis out of the plane of C and O in radians.

    Returns
    -------
    Tensor, (frames, residues, 3, 3)
        C and O of each residue and N of its successor in nm.
    """
    e1, e2, e3 = frames.axes.unsqueeze(3).unbind(dim=2)
    turn = torch.stack([angle, angle, angle + twist], dim=-1).unsqueeze(-1)
    outward = torch.cos(turn) * e2 + torch.sin(turn) * e3
    atoms = c_alpha.unsqueeze(2) + frames.plane[..., :1] * e1 + frames.plane[..., 1:] * outward
    atoms[:, :, 2] += frames.distance.unsqueeze(-1) * e1[:, :, 0]
    return atoms


def measure_angle(frames: PeptideFrames, c_alpha: Tensor, oxygen: Tensor) -> Tensor:
    """Return the angle of O about the axis, (frames, residues) in (-pi, pi]."""
    local = torch.matmul(frames.axes, (oxygen - c_alpha).unsqueeze(-1)).squeeze(-1)
    return torch.atan2(local[..., 2], local[..., 1])


class PeptidePlaneNetwork(nn.Module):
    """Classifies the angle of each peptide, given C-alphas and the previous peptide's angle."""

    class_waves: Tensor
    grid_waves: Tensor
    grid_to_classes: Tensor
    window: Final = _WINDOW
    type_window: Final = _TYPE_WINDOW
    twist_steps: Final = 33
    max_twist: Final = math.radians(40.0)
    trans_distance_nm: Final = 0.038
    """Distance of N from the C-alpha axis in a trans peptide."""
    crystal_hinge_deviation: Final = math.radians(2.7)
    """Standard deviation of the angle N-CA-C in crystal structures."""
    grid: Final = 12
    """Number of grid angles for the next peptide; divides the number of classes."""
    volume: Final = 0.74
    """Triple product of the directions from CA to N, C and CB of an L-amino acid."""
    volume_deviation: Final = 0.1
    """Its standard deviation."""
    never: Final = 100.0
    """Energy in kT of classes other than that of a known angle."""
    least_share: Final = 1e-30
    rings_at_a_time: Final = 64
    numbers_at_a_time: Final = 2**24
    """Limits the memory in which rings are drawn."""

    def __init__(self, config: PeptidePlaneConfig) -> None:
        super().__init__()
        self.config = config
        self.template = PeptideTemplate()
        self.type_embedding = nn.Embedding(NO_RESIDUE + 1, _TYPE_WIDTH)
        self.encoder = NeighbourhoodEncoder(
            1, config.neighbours, config.neighbour_width, config.queries, _OWN_WIDTH, config.dropout
        )
        self.trunk = Trunk(
            config.queries * config.neighbour_width + _OWN_WIDTH,
            config.trunk_width,
            config.trunk_layers,
            config.dropout,
        )
        self.context = nn.Linear(config.trunk_width, config.head_width)
        self.before = nn.Linear(7, config.head_width, bias=False)
        self.output = nn.Linear(config.head_width, config.classes)
        self.hinge = mean_backbone_angle()
        self.twist_deviation = math.radians(config.twist_deviation_degrees)
        self.classes = config.classes
        self.register_buffer("class_waves", _waves(config.classes), persistent=False)
        self.register_buffer("grid_waves", _waves(self.grid), persistent=False)
        self.register_buffer("grid_to_classes", _interpolation(self.grid, config.classes), persistent=False)
        self.penalty = JointPenalty(
            self.hinge,
            math.radians(config.hinge_deviation_degrees),
            config.ramachandran_weight,
            config.ramachandran_percentile,
            config.ramachandran_least_percentile,
        )

    def describe(
        self, c_alpha: Tensor, chain: Chain, box: Tensor | None = None
    ) -> tuple[PeptideSites, PeptideFrames]:
        """Describe each residue's peptide from C-alphas only.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3)
            In nm.
        chain : Chain
            The sequence.
        box : Tensor, (frames, 3, 3), optional
            Periodic boxes.
        """
        triangle = _triangle(c_alpha, chain)
        middle = 0.5 * (triangle[:, :, 1] + triangle[:, :, 2])
        neighbourhood, frame = self.encoder.gather(c_alpha.unsqueeze(2), middle, triangle, chain, box)
        axes = frame[:, :, :3]
        distance = torch.linalg.vector_norm(triangle[:, :, 2] - triangle[:, :, 1], dim=-1)
        frames = PeptideFrames(axes, distance, self.template(distance))
        window = []
        for offset in self.window:
            there = chain.has_neighbour(offset)[:, None].to(c_alpha.dtype)
            away = chain.shift(c_alpha, offset, 0.0, dim=1) - c_alpha
            window.append(torch.matmul(axes, away.unsqueeze(-1)).squeeze(-1) * there)
            window.append(there.expand(c_alpha.shape[0], -1, -1))
        types = torch.stack([chain.neighbour_types(offset) for offset in self.type_window], dim=-1)
        sites = PeptideSites(
            neighbourhood,
            torch.cat(window, dim=-1).flatten(0, 1),
            types.to(torch.uint8).expand(c_alpha.shape[0], -1, -1).flatten(0, 1),
            _before(c_alpha, frames, chain).flatten(0, 1),
        )
        return sites, frames

    def encode_all(
        self, c_alpha: Tensor, chain: Chain, sites_at_once: int, box: Tensor | None = None
    ) -> tuple[EncodedPeptides, PeptideFrames]:
        """Describe and encode all peptides of all frames, in slices of sites.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3)
            In nm.
        chain : Chain
            The sequence.
        sites_at_once : int
            Sites per slice.
        box : Tensor, (frames, 3, 3), optional
            Periodic boxes.
        """
        sites, frames = self.describe(c_alpha, chain, box)
        return self.encode_described(sites, frames, chain, sites_at_once), frames

    def encode_described(
        self, sites: PeptideSites, frames: PeptideFrames, chain: Chain, sites_at_once: int
    ) -> EncodedPeptides:
        """Encode all peptides of all frames, from :meth:`describe`, in slices of sites."""
        shape = frames.distance.shape
        placed = sites.before[..., :6]
        forms, kinds = self.penalty.describe(placed.unflatten(0, shape), frames.plane, frames.distance, chain)
        before = self.see_previous(sites)
        contexts, left = before.new_empty(before.shape[0], before.shape[2]), []
        for first in range(0, len(sites.window), sites_at_once):
            last = first + sites_at_once
            context = self.encode(_cut(sites, first, last))
            joints = Joints(forms.flatten(0, 1)[first:last], kinds.flatten()[first:last])
            left.append(self.remaining(context, before[first:last], joints))
            contexts[first:last] = context
        ahead = chain.shift(torch.cat(left).unflatten(0, shape), 1, 0.0, dim=1)
        return EncodedPeptides(
            contexts.unflatten(0, shape),
            before.unflatten(0, shape),
            placed[..., 3:].unflatten(0, shape),
            frames.plane[:, :, 0],
            forms,
            kinds,
            torch.where(chain.has_neighbour(2)[:, None], ahead, 0.0),
            torch.full_like(frames.distance, torch.nan),
        )

    def encode(self, sites: PeptideSites) -> Tensor:
        """Compute the contribution of the C-alphas, (n, head_width)."""
        own = torch.cat([sites.window, self.type_embedding(sites.types.long()).flatten(1)], dim=-1)
        seen = self.encoder(sites.neighbourhood, own)
        return self.context(self.trunk(torch.cat([seen, own], dim=-1)))

    def see_previous(self, sites: PeptideSites) -> Tensor:
        """Compute the contribution of the previous peptide.

        Returns
        -------
        Tensor, (n, 3, head_width)
            Coefficients of (1, cosine, sine) of its angle.
        """
        return self.before(sites.before / 0.15)

    def forward(self, sites: PeptideSites, previous_angle: Tensor) -> Tensor:
        """Return unnormalised log-probabilities (n, classes), given the previous angles (n,)."""
        cosine, sine = torch.cos(previous_angle), torch.sin(previous_angle)
        return self.logits(self.encode(sites), self.see_previous(sites), cosine, sine)

    def remaining(self, context: Tensor, before: Tensor, joints: Joints) -> Tensor:
        """Return the share of a peptide's probability left by the penalties, per previous class.

        This disfavours angles after which the next peptide would be strained at any angle. A coarse grid of
        angles, with the mean logits of the classes around each, is accurate enough.

        Parameters
        ----------
        context, before : Tensor
            From :meth:`encode` and :meth:`see_previous`, for n sites.
        joints : Joints
            For the n sites.

        Returns
        -------
        Tensor, (n, classes)
            Logarithm of the share.
        """
        cosine, sine = self.grid_waves[1], self.grid_waves[2]
        weight = self.output.weight.unflatten(0, [self.grid, -1]).mean(dim=1)
        bias = self.output.bias.unflatten(0, [self.grid, -1]).mean(dim=1)
        if torch.is_grad_enabled() or context.is_cuda:
            hidden = self.hidden(context.unsqueeze(1), before.unsqueeze(1), cosine, sine)
            logits = functional.linear(hidden, weight, bias)
        else:
            logits = torch.ops.backmap.wave_logits(context, self.grid_waves.T, before, weight, bias)
        penalty = self.penalty.after_each(joints, cosine, sine, self.grid_waves)
        share = torch.logsumexp(logits - penalty, dim=-1) - torch.logsumexp(logits, dim=-1)
        return torch.matmul(share, self.grid_to_classes)

    def inform(
        self, encoded: EncodedPeptides, known: Tensor, support: Tensor, c_beta: Tensor
    ) -> EncodedPeptides:
        """Return the peptides with all that given atoms tell of their angles.

        A given CB adds a strain to the joint: the misfit of N, C and CB to an L-amino acid.

        Parameters
        ----------
        encoded : EncodedPeptides
            For (frames, residues).
        known : Tensor, (frames, residues)
            Angle in radians of peptides with a given atom; NaN for the others.
        support : Tensor, (frames, residues, classes)
            Log-likelihood of the given atoms for each class of the angle.
        c_beta : Tensor, (frames, residues, 3)
            Direction of a given CB from CA in the peptide's frame; zero if CB is not given.
        """
        nitrogen, carbon = encoded.nitrogen, encoded.carbon
        # N keeps its distance from CA, because it rotates about an axis through CA.
        to_nitrogen = torch.linalg.vector_norm(nitrogen[:, :, 0] + nitrogen[:, :, 1], dim=-1)
        bonds = (to_nitrogen * torch.linalg.vector_norm(carbon, dim=-1)).clamp_min(1e-6)
        normal = torch.linalg.cross(c_beta.unsqueeze(2).expand_as(nitrogen), nitrogen, dim=-1)
        volume = normal * torch.cat([carbon, carbon[..., 1:]], dim=-1).unsqueeze(2)
        misfit = volume / (bonds[..., None, None] * self.volume_deviation)
        there = (to_nitrogen > 0) & (c_beta != 0).any(dim=-1)
        misfit[:, :, 0, 0] -= self.volume / self.volume_deviation * there
        return EncodedPeptides(
            encoded.context,
            encoded.before,
            nitrogen,
            carbon,
            torch.cat([encoded.forms, misfit.unsqueeze(3)], dim=3),
            encoded.kinds,
            encoded.ahead + support,
            known,
        )

    def angle_logits(self, encoded: EncodedPeptides, cosine: Tensor, sine: Tensor) -> Tensor:
        """Return unnormalised log-probabilities (..., classes) of angles, under the penalties.

        Parameters
        ----------
        encoded : EncodedPeptides
            For peptides (...).
        cosine, sine : Tensor, (...)
            Cosine and sine of the previous peptides' angles; leading dimensions broadcast.
        """
        logits = self.logits(encoded.context, encoded.before, cosine, sine)
        joints = Joints(encoded.forms, encoded.kinds)
        return logits + encoded.ahead - self.penalty(joints, cosine, sine, self.class_waves)

    def support_of_next(self, encoded: EncodedPeptides, angle: Tensor, chain: Chain) -> Tensor:
        """Return the log-probability (frames, residues, classes) of the next angle, where only that is known.

        Angles (frames, residues) are in radians, NaN where unknown.
        """
        support = torch.zeros_like(encoded.ahead)
        known = ~angle[0].isnan()
        rows = torch.nonzero(chain.linked & ~known & chain.shift(known, 1, 0.0, 0)).squeeze(-1)
        if len(rows) == 0:
            return support
        after = chain.following[rows]
        following = for_each_previous(take_peptides(encoded, after))
        cosine, sine = self.class_waves[1], self.class_waves[2]
        logits = self.logits(following.context, following.before, cosine, sine)
        joints = Joints(following.forms, following.kinds)
        logits = logits - self.penalty(joints, cosine, sine, self.class_waves)
        here = classify_angle(angle[:, after], self.classes)[:, :, None, None]
        log_probability = torch.log_softmax(logits, dim=-1)
        support[:, rows] = log_probability.gather(-1, here.expand(-1, -1, logits.shape[2], 1)).squeeze(-1)
        return support

    def logits(self, context: Tensor, before: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Combine :meth:`encode`, :meth:`see_previous` and the angle before; leading dimensions broadcast."""
        return self.output(self.hidden(context, before, cosine, sine))

    def hidden(self, context: Tensor, before: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Return the last layer before the logits; see :meth:`logits`."""
        constant, with_cosine, with_sine = before.unbind(dim=-2)
        total = context + constant + cosine.unsqueeze(-1) * with_cosine + sine.unsqueeze(-1) * with_sine
        return functional.silu(total)

    def draw_angles(self, encoded: EncodedPeptides, segments: Tensor, uniforms: Tensor) -> Tensor:
        """Draw the angles along all segments by ancestral sampling, each given the previous one.

        Parameters
        ----------
        encoded : EncodedPeptides
            Features of the network, and what given atoms tell. Known angles are kept.
        segments : Tensor, (segments, longest) int64
            Residues of each segment in order, padded with -1; the longest segments first.
        uniforms : Tensor, (samples, frames, residues, 2)
            Random numbers in [0, 1) for the class and for the position in its bin.

        Returns
        -------
        Tensor, (samples, frames, residues)
            In radians; zero outside the segments.
        """
        return torch.ops.backmap.draw_angle_chains(
            encoded.context,
            encoded.before,
            self.output.weight,
            self.output.bias,
            encoded.forms,
            encoded.kinds,
            self.penalty.table,
            encoded.ahead,
            segments,
            uniforms.transpose(0, 1),
            encoded.known,
        ).transpose(0, 1)

    def log_transitions(self, encoded: EncodedPeptides, before: Tensor) -> Tensor:
        """Return log-probabilities (frames, peptides, previous, classes) of angles, given the previous ones.

        Parameters
        ----------
        encoded : EncodedPeptides
            For (frames, peptides).
        before : Tensor, (frames, peptides, previous)
            Angles in radians of the previous peptides.
        """
        each = for_each_previous(encoded)
        logits = torch.log_softmax(self.angle_logits(each, torch.cos(before), torch.sin(before)), dim=-1)
        known = each.known.unsqueeze(-1)
        own = classify_angle(known.nan_to_num(), self.classes)
        only = torch.where(torch.arange(self.classes, device=own.device) == own, 0.0, -self.never)
        return torch.where(known.isnan(), logits, only)

    def draw_ring_angles(self, encoded: EncodedPeptides, rings: Tensor, uniforms: Tensor) -> Tensor:
        """Draw the angles of rings of one length; all arguments but ``rings`` are as in :meth:`draw_angles`.

        The probability of all angles of a ring is the product of those of each angle given the previous one,
        all the way round. The angle of the first residue is drawn from its distribution in the ring, and the
        others one after another, each given the previous angle and that the last leads back to the first.

        Parameters
        ----------
        rings : Tensor, (rings, length) int64
            Residues of each ring in order.

        Returns
        -------
        Tensor, (samples, frames, rings, length)
            In radians.
        """
        n_frames = uniforms.shape[1]
        angles = uniforms.new_zeros([uniforms.shape[0], n_frames, rings.shape[0], rings.shape[1]])
        for first in range(0, rings.shape[0], self.rings_at_a_time):
            some = rings[first : first + self.rings_at_a_time]
            step = max(1, self.numbers_at_a_time // (some.numel() * self.classes * self.classes))
            for start in range(0, n_frames, step):
                end = min(start + step, n_frames)
                angles[:, start:end, first : first + some.shape[0]] = self._draw_some_rings(
                    _cut_frames(encoded, start, end), some, uniforms[:, start:end]
                )
        return angles

    def _draw_some_rings(self, encoded: EncodedPeptides, rings: Tensor, uniforms: Tensor) -> Tensor:
        """Draw the angles of as many rings and frames as the memory holds."""
        ways, numbers = self.ways_back(encoded, rings), uniforms[:, :, rings]
        angle = uniforms.new_zeros([uniforms.shape[0], uniforms.shape[1], rings.shape[0]])
        first_class = classify_angle(angle, self.classes)
        angles: list[Tensor] = []
        for step in range(rings.shape[1]):
            here = take_peptides(encoded, rings[:, step])
            logits = self.ring_logits(here, ways[step], angle, first_class, step == 0)
            chosen = draw_class(logits, numbers[:, :, :, step, 0])
            angle = angle_in_class(chosen, numbers[:, :, :, step, 1], self.classes)
            if step == 0:
                first_class = classify_angle(angle, self.classes)
            angle = torch.where(here.known.isnan(), angle, here.known)
            angles.append(angle)
        return torch.stack(angles, dim=-1)

    def ring_logits(
        self,
        encoded: EncodedPeptides,
        way_back: Tensor,
        previous: Tensor,
        first_class: Tensor,
        is_first: bool,
    ) -> Tensor:
        """Return the logits (samples, frames, rings, classes) of the angles at one place in rings.

        Parameters
        ----------
        encoded : EncodedPeptides
            For the peptides (frames, rings) at this place.
        way_back : Tensor, (frames, rings, classes, classes)
            From :meth:`ways_back`.
        previous : Tensor, (samples, frames, rings)
            Angles of the previous peptides in radians.
        first_class : Tensor, (samples, frames, rings) int64
            Classes of the first angles of the rings.
        is_first : bool
            Whether this place is the first one, where the angles before do not matter yet.
        """
        if is_first:
            share = way_back.diagonal(dim1=-2, dim2=-1)
            return share.clamp_min(self.least_share).log().expand(previous.shape[0], -1, -1, -1)
        logits = self.angle_logits(encoded, torch.cos(previous), torch.sin(previous))
        back = way_back.expand(previous.shape[0], -1, -1, -1, -1)
        back = back.gather(-1, first_class[..., None, None].expand(-1, -1, -1, back.shape[3], 1)).squeeze(-1)
        return torch.log_softmax(logits, dim=-1) + back.clamp_min(self.least_share).log()

    def ways_back(self, encoded: EncodedPeptides, rings: Tensor) -> list[Tensor]:
        """Return probabilities (frames, rings, classes, classes) of the first angle after each angle.

        There is one tensor for each residue of the rings: the probabilities that, given the class of its
        angle, the way on around the ring leads to each class of the first residue's angle.
        """
        middles = torch.atan2(self.class_waves[2], self.class_waves[1])
        steps: list[Tensor] = []
        for step in range(rings.shape[1]):
            known = encoded.known[:, rings[:, step - 1], None]
            before = torch.where(known.isnan(), middles, known)
            steps.append(self.log_transitions(take_peptides(encoded, rings[:, step]), before).exp())
        ways = [steps[0]]
        for step in range(rings.shape[1] - 1, 0, -1):
            ways.append(torch.matmul(steps[step], ways[-1]))
        ways.reverse()
        return ways

    def draw_twists(self, frames: PeptideFrames, angle: Tensor, chain: Chain, uniforms: Tensor) -> Tensor:
        """Draw the rotation of each N out of the plane, by its statistics and so that N-CA-C relaxes.

        Each rotation is drawn on a grid from a normal distribution times the distribution of the resulting
        angle N-CA-C; the peptide's omega follows (about 0.43 degrees per degree).

        Parameters
        ----------
        frames : PeptideFrames
            Frames of the peptide axes.
        angle : Tensor, (frames, residues)
            Peptide angles in radians.
        chain : Chain
            The sequence.
        uniforms : Tensor, (frames, residues, 2)
            Random numbers in [0, 1) for the grid point and for the position around it.

        Returns
        -------
        Tensor, (frames, residues)
            In radians.
        """
        twist, scale, logits = self._weigh_twists(frames, angle, chain)
        chosen = draw_class(logits, uniforms[..., 0])
        step = 2 * self.max_twist / (self.twist_steps - 1)
        return (twist[chosen] + (uniforms[..., 1] - 0.5) * step) * scale

    def mean_twists(self, frames: PeptideFrames, angle: Tensor, chain: Chain) -> Tensor:
        """Return the means of the distributions that :meth:`draw_twists` draws from; arguments likewise."""
        twist, scale, logits = self._weigh_twists(frames, angle, chain)
        return torch.matmul(torch.softmax(logits, dim=-1), twist) * scale

    def _weigh_twists(
        self, frames: PeptideFrames, angle: Tensor, chain: Chain
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return twists (steps,), their scale (frames, residues) and logits (frames, residues, steps)."""
        carbon, nitrogen = frames.plane[:, :, 0], frames.plane[:, :, 2]
        e1, e2, e3 = frames.axes.unbind(dim=2)
        outward = torch.cos(angle).unsqueeze(-1) * e2 + torch.sin(angle).unsqueeze(-1) * e3
        to_carbon = carbon[..., :1] * e1 + carbon[..., 1:] * outward
        to_carbon = to_carbon / torch.linalg.vector_norm(to_carbon, dim=-1, keepdim=True)
        ahead = torch.matmul(frames.axes, chain.shift(to_carbon, 1, 0.0, dim=1).unsqueeze(-1))
        twist = torch.linspace(-self.max_twist, self.max_twist, self.twist_steps, device=angle.device)
        # N of a cis peptide is three times as far from the axis, so the same sideways shift is a smaller
        # rotation.
        scale = (self.trans_distance_nm / nitrogen[..., 1:].abs()).clamp_max(1.0)
        turn = angle.unsqueeze(-1) + twist * scale
        sideways = torch.cos(turn) * ahead[:, :, 1] + torch.sin(turn) * ahead[:, :, 2]
        length = torch.linalg.vector_norm(nitrogen, dim=-1, keepdim=True)
        bend = (nitrogen[..., :1] * ahead[:, :, 0] + nitrogen[..., 1:] * sideways) / length
        strain = (bend - math.cos(self.hinge)) / (math.sin(self.hinge) * self.crystal_hinge_deviation)
        hinged = chain.has_neighbour(2).unsqueeze(-1)
        logits = -0.5 * (twist / self.twist_deviation).square()
        logits = logits - 0.5 * torch.where(hinged, strain.square(), 0.0)
        return twist, scale.squeeze(-1), logits


def _waves(angles: int) -> Tensor:
    """Return 1, cosine and sine, (3, angles), at the middles of equal parts of a turn from -pi."""
    middles = (torch.arange(angles) + 0.5) / angles * (2 * math.pi) - math.pi
    return torch.stack([torch.ones_like(middles), torch.cos(middles), torch.sin(middles)])


def _interpolation(coarse: int, fine: int) -> Tensor:
    """Return weights (coarse, fine) of linear interpolation on the circle, between middles as in `_waves`."""
    places = (torch.arange(fine) + 0.5) / fine * coarse - 0.5 - torch.arange(coarse)[:, None]
    distance = (torch.remainder(places + coarse / 2, coarse) - coarse / 2).abs()
    return (1.0 - distance).clamp_min(0.0)


def _cut(sites: PeptideSites, first: int, last: int) -> PeptideSites:
    """Return the sites from ``first`` up to ``last``."""
    return PeptideSites(
        cut_neighbourhood(sites.neighbourhood, first, last),
        sites.window[first:last],
        sites.types[first:last],
        sites.before[first:last],
    )


def take_peptides(encoded: EncodedPeptides, rows: Tensor) -> EncodedPeptides:
    """Return the peptides ``rows`` along the second dimension."""
    return EncodedPeptides(
        encoded.context[:, rows],
        encoded.before[:, rows],
        encoded.nitrogen[:, rows],
        encoded.carbon[:, rows],
        encoded.forms[:, rows],
        encoded.kinds[:, rows],
        encoded.ahead[:, rows],
        encoded.known[:, rows],
    )


def _cut_frames(encoded: EncodedPeptides, first: int, last: int) -> EncodedPeptides:
    """Return the frames from ``first`` up to ``last``."""
    return EncodedPeptides(
        encoded.context[first:last],
        encoded.before[first:last],
        encoded.nitrogen[first:last],
        encoded.carbon[first:last],
        encoded.forms[first:last],
        encoded.kinds[first:last],
        encoded.ahead[first:last],
        encoded.known[first:last],
    )


def for_each_previous(encoded: EncodedPeptides) -> EncodedPeptides:
    """Return peptides (frames, peptides, 1), to be combined with several angles of the previous peptide."""
    return EncodedPeptides(
        encoded.context.unsqueeze(2),
        encoded.before.unsqueeze(2),
        encoded.nitrogen.unsqueeze(2),
        encoded.carbon.unsqueeze(2),
        encoded.forms.unsqueeze(2),
        encoded.kinds.unsqueeze(2),
        encoded.ahead.unsqueeze(2),
        encoded.known.unsqueeze(2),
    )


def draw_class(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw a class by inverse CDF from logits (..., classes) and uniforms (...)."""
    return draw_classes(logits, uniforms.unsqueeze(-1)).squeeze(-1)


def draw_classes(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw several classes of each distribution, from logits (..., classes) and uniforms (..., draws)."""
    cumulative = torch.softmax(logits, dim=-1).cumsum(dim=-1)
    threshold = uniforms * cumulative[..., -1:]
    drawn = torch.searchsorted(cumulative, threshold.contiguous(), right=True)
    return drawn.clamp_max(logits.shape[-1] - 1)
