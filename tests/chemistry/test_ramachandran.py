import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.chemistry.ramachandran import (
    FAVOURED_PERCENTILE,
    OUTLIER_PERCENTILES,
    RAMACHANDRAN_CLASSES,
    percentile_grids,
    ramachandran_classes,
    ramachandran_percentiles,
)
from backmap.datasets.ramachandran_grids import read_grid, to_steps


def percentile(name: str, phi: float, psi: float) -> float:
    return float(ramachandran_percentiles(np.array(RAMACHANDRAN_CLASSES.index(name)), phi, psi))


@pytest.mark.parametrize(
    ("name", "phi", "psi", "expected"),
    [  # lines of the files of the Top8000
        ("general", -179.0, -179.0, 0.005560270487425575),
        ("general", -179.0, -149.0, 2.0440093101327289e-4),
        ("glycine", -179.0, -169.0, 0.38989098456972787),
        ("isoleucine-valine", -179.0, -71.0, 1.0252046564795498e-5),
        ("pre-proline", -179.0, -167.0, 4.222972972972973e-4),
        ("trans-proline", -155.0, -179.0, 1.5068410584051594e-5),
        ("cis-proline", -143.0, 3.0, 2.736726874657909e-4),
        ("cis-proline", 60.0, 60.0, 0.0),
    ],
)
def test_centres_of_cells_have_the_values_of_the_source(name, phi, psi, expected):
    assert percentile(name, phi, psi) == pytest.approx(expected, rel=6e-4)
    assert percentile(name, phi + 360.0, psi - 720.0) == pytest.approx(expected, rel=6e-4)


def test_percentiles_are_linear_between_centres():
    halfway = (0.005560270487425575 + 0.0045712337244581255) / 2
    assert percentile("general", -179.0, -178.0) == pytest.approx(halfway, rel=6e-4)
    quarter = 0.75 * 0.4862379812846838 + 0.25 * 0.47276329670895195
    assert percentile("glycine", -179.0, -178.5) == pytest.approx(quarter, rel=6e-4)


def test_percentiles_go_on_across_half_a_turn():
    grid = percentile_grids()[0]
    corners = grid[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert percentile("general", 180.0, -180.0) == pytest.approx(corners.mean())
    assert percentile("general", 179.5, 180.0) == pytest.approx(
        0.375 * (corners[2] + corners[3]) + 0.125 * (corners[0] + corners[1])
    )


def test_classes():
    topology = Topology.from_sequences("AGPVPIPGVP")
    linked = topology.linked()
    linked[5] = False  # no bond from the isoleucine to the proline behind it
    cis = np.zeros((2, 10), dtype=bool)
    cis[1, [2, 5]] = True
    classes = ramachandran_classes(topology.residue_types, topology.following(linked), cis)
    names = [[RAMACHANDRAN_CLASSES[index] for index in row] for row in classes]
    pro, pre = "trans-proline", "pre-proline"
    expected = ["general", "glycine", pro, pre, pro, "isoleucine-valine", pro, "glycine", pre, pro]
    assert names[0] == expected
    expected[2] = "cis-proline"
    assert names[1] == expected


def test_helices_and_strands_are_favoured():
    outliers = dict(zip(RAMACHANDRAN_CLASSES, OUTLIER_PERCENTILES, strict=True))
    for name in RAMACHANDRAN_CLASSES:
        assert percentile(name, -65.0, 140.0) > FAVOURED_PERCENTILE
        assert percentile(name, 60.0, -90.0) < outliers[name] or name == "glycine"
    assert percentile("general", -63.0, -43.0) > 0.9
    assert percentile("glycine", 85.0, 5.0) > FAVOURED_PERCENTILE


def test_packing_keeps_percentiles(tmp_path):
    path = tmp_path / "grid.data"
    path.write_text("# head\n-179.0 -177.0 1.0\n3.0 179.0 0.0025\n5.0 -1.0 9.4e-07\n")
    grid = read_grid(path)
    assert np.argwhere(grid).tolist() == [[0, 1], [91, 179], [92, 89]]
    steps = to_steps(grid)
    assert steps[0, 1] == 1 and steps[0, 0] == 0
    assert np.exp(-0.001 * (steps[91, 179] - 1.0)) == pytest.approx(0.0025, rel=6e-4)
