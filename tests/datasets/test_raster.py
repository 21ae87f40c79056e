"""The georeference of cut rasters, and the stretch to 8 bits."""

import numpy as np
import pytest

from rs_mm.datasets.raster import pixel_grid, shift_geo_tags, stretch

SCALE = (33550, 12, 3, (10.0, 5.0, 0.0), True)
TIEPOINT = (33922, 12, 6, (2.0, 1.0, 0.0, 1020.0, 495.0, 0.0), True)
MATRIX = (34264, 12, 16, (10.0, 0, 0, 1000.0, 0, -5.0, 0, 500.0, 0, 0, 0, 0, 0, 0, 0, 1), True)
KEYS = (34735, 3, 4, (1, 1, 0, 0), True)


@pytest.mark.parametrize('tags', [[SCALE, TIEPOINT, KEYS], [MATRIX, KEYS]])
def test_grid_and_its_shift(tags):
    """Both forms place the corner at (1000, 500) with pixels of 10 x 5; north is up."""
    assert pixel_grid(tags) == ((1000.0, 500.0), (10.0, 5.0))
    shifted = shift_geo_tags(tags, columns=3, rows=4)
    assert pixel_grid(shifted) == ((1030.0, 480.0), (10.0, 5.0))
    assert shifted[-1] == KEYS and [t[0] for t in shifted] == [t[0] for t in tags]


def test_no_grid():
    turned = (34264, 12, 16, (7.0, 7.0, 0, 0, 7.0, -7.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), True)
    assert pixel_grid([]) is pixel_grid([KEYS]) is pixel_grid([turned]) is None


def test_stretch():
    image = np.array([[[0.0, 10.0]], [[40.0, np.nan]], [[100.0, 30.0]], [[200.0, 15.0]]])
    found = stretch(image, np.array([0, 10]), np.array([100, 30]))
    np.testing.assert_array_equal(found[:, 0], [[0, 0], [102, 0], [255, 255], [255, 64]])
