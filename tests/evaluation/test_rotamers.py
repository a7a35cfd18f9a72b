"""Rotamers by the distributions of the Top8000."""

import numpy as np
import pytest

from backmap.chemistry import RESIDUE_INDEX
from backmap.chemistry.rotamers import rotamer_grids, rotamer_mixtures, rotamer_percentiles
from backmap.evaluation import score

from .peptide import build


def percentile(name, *chi):
    angles = np.full((4, 1), np.nan)
    angles[: len(chi), 0] = chi
    return rotamer_percentiles(np.array([RESIDUE_INDEX[name]]), angles)[0]


@pytest.mark.parametrize(
    ("name", "chi", "published"),
    [  # lines of rota8000-val, -ser, -pro, -phetyr, -asn, -glu and -met.data
        ("VAL", (0.5,), 9.276824615897767e-4),
        ("VAL", (8.5,), 5.628635160207634e-4),
        ("SER", (6.5,), 2.660600497532293e-5),
        ("PRO", (5.5,), 0.02040225480679167),
        ("PHE", (2.5, 57.5), 1.9587103850824618e-5),
        ("TYR", (2.5, 67.5), 3.9174207701649236e-5),
        ("ASN", (12.5, 57.5), 7.561722560399259e-5),
        ("GLU", (4.0, 148.0, 160.43478260869566), 7.108709946862394e-5),
        ("MET", (4.0, 156.0, 92.0), 3.3143677843451363e-4),
    ],
)
def test_centres_of_cells_have_the_published_values(name, chi, published):
    assert percentile(name, *chi) == pytest.approx(published, rel=0.003)


def test_values_between_centres_are_interpolated():
    # Val between 7.5 and 8.5 degrees; Phe between four published cells.
    assert percentile("VAL", 7.75) == pytest.approx(
        0.75 * 6.358273051345661e-4 + 0.25 * 5.628635160207634e-4, rel=0.003
    )
    grid = rotamer_grids()["PHE"]
    corners = grid[:2, 11:13]
    assert percentile("PHE", 5.0, 60.0) == pytest.approx(corners.mean(), rel=1e-9)


def test_angles_are_periodic():
    assert percentile("VAL", -184.5) == pytest.approx(percentile("VAL", 175.5))
    assert percentile("VAL", 0.0) == pytest.approx((rotamer_grids()["VAL"][[0, -1]]).mean())
    assert percentile("PHE", -63.0, -85.0) == pytest.approx(percentile("PHE", 297.0, 95.0))
    assert percentile("ASN", -63.0, -85.0) != pytest.approx(percentile("ASN", -63.0, 95.0))
    assert percentile("LYS", -67.0, 180.0, 180.0, 180.0) == pytest.approx(
        percentile("LYS", 293.0, -180.0, 180.0, 540.0)
    )


def test_common_and_eclipsed_side_chains():
    assert percentile("LEU", -65.0, 175.0) > 0.5
    assert percentile("LEU", 0.0, 0.0) < 0.003
    assert percentile("LYS", -67.0, 180.0, 180.0, 180.0) > 0.9
    assert percentile("LYS", 0.0, 0.0, 0.0, 0.0) < 0.003
    assert percentile("ARG", -67.0, 180.0, 180.0, 180.0) > 0.5
    assert np.isnan(percentile("ALA")) and np.isnan(percentile("GLY"))


@pytest.mark.parametrize("name", ["ARG", "LYS"])
def test_percentiles_of_mixtures_are_ranks_within_the_mixture(name):
    mixture = rotamer_mixtures()[name]
    generator = np.random.default_rng(1)
    rows = generator.choice(len(mixture.weights), size=4000, p=mixture.weights)
    spread = 1.35 * mixture.deviations[rows]
    percentiles = mixture.percentiles(generator.normal(mixture.means[rows], spread))
    for level in (0.02, 0.3, 0.8):
        assert (percentiles < level).mean() == pytest.approx(level, abs=0.025)


def test_side_chains_of_a_peptide_are_counted():
    topology, atoms = build("AVLGA", chi=-63.0)
    measures = score(topology, None, atoms[None, None], sample_present=np.isfinite(atoms[..., 0])).measures
    valine = percentile("VAL", -63.0)
    expected = (np.array([valine, percentile("LEU", -63.0, -63.0)]) >= 0.02).mean()
    assert measures["rotamer_favoured"]["all"].value == pytest.approx(100 * expected)
    assert 0 <= measures["rotamer_outliers"]["all"].value <= 100


def test_a_side_chain_with_a_missing_atom_is_not_counted():
    topology, atoms = build("AVLGA")
    present = np.isfinite(atoms[..., 0])
    present[2, 6] = False
    measures = score(topology, None, atoms[None, None], sample_present=present).measures
    assert measures["rotamer_percentile"]["all"].value == pytest.approx(100 * percentile("VAL", -63.0))
