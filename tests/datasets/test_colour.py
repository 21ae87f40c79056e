"""The fast colour changes do what torchvision's do to an 8-bit image."""

import numpy as np
import pytest
import torchvision.transforms.functional as F
from PIL import Image

from rs_mm.datasets.transforms import colour
from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import TRANSFORMS
from tests import fill


@pytest.fixture
def image():
    img = fill.field('colour/img', [1, 3, 40, 56])[0]
    return np.ascontiguousarray((img.transpose(1, 2, 0) * 255).astype(np.uint8))


@pytest.mark.parametrize(
    'name, values',
    [
        ('brightness', (0.6, 1.0, 1.4)),
        ('contrast', (0.6, 1.0, 1.4)),
        ('saturation', (0.6, 1.0, 1.4)),
        ('hue', (-0.4, 0.0, 0.25)),
    ],
)
def test_changes_equal_torchvision(name, values, image):
    for value in values:
        ours = getattr(colour, f'change_{name}')(image, value).astype(int)
        theirs = np.asarray(getattr(F, f'adjust_{name}')(Image.fromarray(image), value)).astype(int)
        difference = np.abs(ours - theirs)
        assert difference.mean() < 0.8
        assert difference.max() <= (12 if name == 'hue' else 1)


def test_draws_are_in_range_and_reproducible(image):
    transform = TRANSFORMS.build(dict(type='RandomColour', grey=0.2))
    grey, seen = 0, []
    for seed in range(60):
        np.random.seed(seed)
        result = transform(dict(img=image))['img']
        np.random.seed(seed)
        assert np.array_equal(transform(dict(img=image))['img'], result)
        grey += np.ptp(result.astype(int), axis=2).max() == 0
        seen.append(result.mean() / image.mean())
    assert 4 <= grey <= 22
    assert 0.3 < min(seen) < 0.8 and 1.2 < max(seen) < 2
    assert np.array_equal(
        TRANSFORMS.build(
            dict(type='RandomColour', grey=0, brightness=0, contrast=0, saturation=0, hue=0)
        )(dict(img=image))['img'],
        image,
    )


def test_bad_input_is_named(image):
    with pytest.raises(ConfigError, match=r'`hue` must lie in \[0, 0.5\], not 0.7'):
        colour.RandomColour(hue=0.7)
    with pytest.raises(
        DataError, match='x.tif: RandomColour is for 8-bit RGB images, not for float32 with 4 bands'
    ):
        colour.RandomColour()(dict(img=np.zeros((4, 4, 4), np.float32), img_path='x.tif'))
