import math

import pytest
import torch

from backmap.models.chain import Chain
from backmap.models.protein.backbone import END_CANDIDATES, END_UNIFORMS, BackboneBuilder, chain_ends
from backmap.models.protein.config import PeptidePlaneConfig
from backmap.models.protein.geometry import torsion_angle
from backmap.models.protein.peptide_planes import PeptidePlaneNetwork, measure_angle, place_peptides
from tests.models.conftest import helix


def make_chain(lengths: list[int]) -> Chain:
    index = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    linked = torch.cat([index[1:] == index[:-1], torch.tensor([False])])
    return Chain(torch.zeros(len(index), dtype=torch.int64), index, linked)


def make_network(twist_deviation_degrees: float = 15.0) -> PeptidePlaneNetwork:
    return PeptidePlaneNetwork(
        PeptidePlaneConfig(neighbours=4, twist_deviation_degrees=twist_deviation_degrees)
    )


def build(c_alpha: torch.Tensor, chain: Chain, angle: float = 1.0):
    _, frames = make_network().describe(c_alpha[None], chain)
    ends = sum(len(rows) for rows in chain_ends(chain))
    generator = torch.Generator().manual_seed(0)
    uniforms = torch.rand(1, ends, END_CANDIDATES, END_UNIFORMS, generator=generator)
    angles = torch.full(c_alpha.shape[:1], angle)[None]
    return frames, BackboneBuilder()(c_alpha[None], frames, angles, torch.zeros_like(angles), chain, uniforms)


def test_neighbours_end_at_breaks():
    chain = make_chain([3, 2])
    assert chain.has_neighbour(1).tolist() == [True, True, False, True, False]
    assert chain.has_neighbour(-1).tolist() == [False, True, True, False, True]
    assert chain.has_neighbour(2).tolist() == [True, False, False, False, False]
    assert chain.segments().tolist() == [[0, 1, 2], [3, 4, -1]]
    assert make_chain([1, 3, 1]).segments().tolist() == [[1, 2, 3], [0, -1, -1], [4, -1, -1]]
    assert chain.neighbour_types(-2).tolist() == [20, 20, 0, 20, 20]


@pytest.mark.parametrize("lengths", [[1], [2], [3], [1, 1], [1, 4, 2], [12]])
def test_every_residue_is_built_with_covalent_bonds(lengths):
    chain = make_chain(lengths)
    c_alpha = torch.cat([helix(length, offset=1.2 * k) for k, length in enumerate(lengths)])
    _, backbone = build(c_alpha, chain)
    n, ca, c, o = backbone.atoms[0].unbind(1)
    assert torch.equal(ca, c_alpha)
    assert torch.isfinite(backbone.atoms).all()
    for first, second, ideal in ((n, ca, 0.1459), (ca, c, 0.1524), (c, o, 0.1232)):
        assert torch.allclose((first - second).norm(dim=-1), torch.tensor(ideal), atol=8e-4)
    bonded = chain.linked[:-1]
    assert torch.allclose((c[:-1] - n[1:]).norm(dim=-1)[bonded], torch.tensor(0.133), atol=8e-4)
    ends = ~chain.linked
    assert torch.allclose(
        (backbone.terminal_oxygen[0] - c).norm(dim=-1)[ends], torch.tensor(0.1241), atol=1e-4
    )


def test_angle_placed_is_angle_measured():
    chain, c_alpha = make_chain([9]), helix(9)
    for angle in (-2.5, 0.3, 3.0):
        frames, backbone = build(c_alpha, chain, angle)
        measured = measure_angle(frames, c_alpha[None], backbone.atoms[:, :, 3])[0, :-1]
        assert torch.allclose(measured, torch.full_like(measured, angle), atol=1e-4)


def test_previous_peptide_is_where_it_was_placed():
    """What the network is told of the peptide before is what the builder places."""
    chain, c_alpha, angle = make_chain([9]), helix(9), 0.7
    sites, frames = make_network().describe(c_alpha[None], chain)
    _, backbone = build(c_alpha, chain, angle)
    told = sites.before[:, 0] + math.cos(angle) * sites.before[:, 1] + math.sin(angle) * sites.before[:, 2]
    nitrogen = torch.einsum("rij,rj->ri", frames.axes[0], backbone.atoms[0, :, 0] - c_alpha)
    assert torch.allclose(told[1:, 3:6], nitrogen[1:], atol=1e-5)
    assert not told[0].any() and told[1:, 6].eq(1).all()


def test_twists_relax_the_angle_at_c_alpha():
    """N leaves the plane by as much as asked on average, and so as to relax the angle N-CA-C."""
    chain, c_alpha = make_chain([40]), helix(40).repeat(50, 1, 1)
    network, generator = make_network(10.0), torch.Generator().manual_seed(1)
    _, frames = network.describe(c_alpha, chain)
    angles = 1.0 + 0.3 * torch.randn(50, 40, generator=generator)
    uniforms = torch.rand(50, 40, 2, generator=generator)
    twists = network.draw_twists(frames, angles, chain, uniforms)
    assert 5 < math.degrees(float(twists.std())) < 20 and twists.abs().max() < math.radians(42)

    def spread(twist: torch.Tensor) -> float:
        peptides = place_peptides(c_alpha, frames, angles, twist)
        to_n = peptides[:, :-2, 2] - c_alpha[:, 1:-1]
        to_c = peptides[:, 1:-1, 0] - c_alpha[:, 1:-1]
        return float(torch.acos(torch.nn.functional.cosine_similarity(to_n, to_c, dim=-1)).std())

    assert spread(twists) < spread(torch.zeros_like(twists)) < spread(twists.roll(1, dims=0))


def test_cis_peptides_stay_cis_and_keep_their_bonds():
    chain, generator = make_chain([30]), torch.Generator().manual_seed(1)
    turn = torch.arange(30) * 2.5
    radius = 0.295 / math.sqrt((2 * math.sin(1.25)) ** 2 + 1)
    c_alpha = torch.stack([radius * torch.cos(turn), radius * torch.sin(turn), radius * torch.arange(30)], 1)
    network = make_network()
    _, frames = network.describe(c_alpha.expand(40, -1, -1), chain)
    assert torch.allclose(frames.distance[:, :-1], torch.tensor(0.295), atol=1e-4)
    angles = 6.28 * torch.rand(40, 30, generator=generator)
    uniforms = torch.rand(40, 30, 2, generator=generator)
    twists = network.draw_twists(frames, angles, chain, uniforms)
    c, _, n = place_peptides(c_alpha.expand(40, -1, -1), frames, angles, twists).unbind(2)
    omega = torsion_angle(
        c_alpha[:-1].expand(40, -1, -1), c[:, :-1], n[:, :-1], c_alpha[1:].expand(40, -1, -1)
    )
    assert math.degrees(float(omega.abs().max())) < 30
    assert torch.allclose((c - n).norm(dim=-1)[:, :-1], torch.tensor(0.134), rtol=0.03)
