import cv2
import numpy as np
import pytest

from rs_mm.datasets.transforms import (
    RandomEraseBands,
    RandomFlipRotateBands,
    RandomPhotometricBands,
    TorchvisionTransforms,
)
from rs_mm.errors import ConfigError


def photometric(img, choice, **kwargs):
    weights = np.eye(5)[choice]
    return RandomPhotometricBands(prob=1, weights=weights, **kwargs)(dict(img=img))['img']


@pytest.fixture
def img():
    return np.random.default_rng(0).random((20, 30, 5), np.float32)


def test_published_flip_happens_one_time_in_six(img):
    np.random.seed(0)
    step, flipped = RandomFlipRotateBands(), 0
    for _ in range(3000):
        out = step(dict(img=img))['img']
        if not np.array_equal(out, img):
            assert np.array_equal(out, img[:, ::-1])
            flipped += 1
    assert abs(flipped / 3000 - 1 / 6) < 0.025


def test_flips_and_turns_by_themselves(img):
    np.random.seed(0)
    step = RandomFlipRotateBands(0.5, 0.5, 0.5, one_of=False)
    seen = {step(dict(img=img))['img'].tobytes() for _ in range(200)}
    assert len(seen) == 8  # every symmetry of the rectangle's pixels
    turned = RandomFlipRotateBands(0, 0, 1, one_of=False)(dict(img=img))
    assert turned['img_shape'] == turned['img'].shape[:2]


def test_published_blur_runs_over_bands_and_rows(img):
    expected = cv2.blur(np.ascontiguousarray(img.transpose(2, 0, 1)), (3, 3))
    assert np.allclose(photometric(img, 0).transpose(2, 0, 1), expected, atol=1e-6)
    assert np.allclose(
        photometric(img, 0, published=False)[..., :3],
        cv2.blur(img[..., :3].copy(), (3, 3)),
        atol=1e-6,
    )


@pytest.mark.parametrize('choice', [1, 2])
@pytest.mark.parametrize('published', [True, False])
def test_brightness_and_contrast_limits(choice, published):
    np.random.seed(0)
    ramp = np.linspace(0.4, 0.5, 8, dtype=np.float32).reshape(2, 4, 1)
    fits = []
    for _ in range(500):
        out = photometric(ramp, choice, published=published)
        fits.append(np.polyfit(ramp.ravel(), out.ravel(), 1))
    stretch, shift = np.abs(np.array(fits).T - [[1], [0]]).max(1)
    own, other = (0.1, 0.2 if published else 0.0)
    limits = (other, own) if choice == 1 else (own, other)
    for found, limit in zip((stretch, shift), limits):
        assert found <= limit + 1e-4 and found >= 0.95 * limit


def test_gamma_clipping_and_reflectances(img):
    np.random.seed(0)
    gamma = np.log(photometric(img, 3)) / np.log(img)
    assert np.allclose(gamma, gamma.mean(), atol=1e-3) and 0.9 <= gamma.mean() <= 1
    digital = img * 4000
    for _ in range(50):
        assert photometric(digital, 4, published=False).max() <= 1
        out = photometric(digital, 4, published=False, max_value=10000)
        assert out.dtype == np.float32 and out.max() > 2000 and out.shape == digital.shape


def test_photometric_rate_and_mix(img):
    np.random.seed(0)
    step = RandomPhotometricBands()
    changed = sum(not np.array_equal(step(dict(img=img))['img'], img) for _ in range(1000))
    assert abs(changed / 1000 - 0.5) < 0.06
    assert np.allclose(step.weights, np.array([1, 1, 1, 1, 10]) / 14)
    with pytest.raises(ConfigError, match='needs five numbers'):
        RandomPhotometricBands(weights=[1, 2])


def test_erased_rectangle():
    np.random.seed(0)
    ones = np.ones((40, 60, 7), np.float32)
    assert np.array_equal(RandomEraseBands()(dict(img=ones))['img'], ones)
    for _ in range(200):
        out = RandomEraseBands(prob=1)(dict(img=ones))['img']
        rows, cols = np.nonzero(out[..., 0] == 0)
        height, width = np.ptp(rows) + 1, np.ptp(cols) + 1
        assert (out == 0).sum() == height * width * 7  # one filled rectangle in every band
        assert 0.015 < height * width / 2400 < 0.43 and 0.25 < height / width < 4
    assert ones.all()


def test_torchvision_transforms():
    img = np.random.default_rng(0).integers(0, 255, (50, 40, 3)).astype(np.uint8)
    grn = TorchvisionTransforms(
        [
            dict(type='Resize', size=(32, 32)),
            dict(type='RandomGrayscale', p=1.0),
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
            dict(type='RandomHorizontalFlip'),
        ]
    )
    out = grn(dict(img=img))['img']
    assert out.shape == (32, 32, 3) and out.dtype == np.uint8
    assert np.array_equal(out[..., 0], out[..., 1])
    with pytest.raises(ConfigError, match="type='Resise' is not a transform"):
        TorchvisionTransforms([dict(type='Resise')])


def test_draws_follow_the_seeds():
    from rs_mm.datasets import MultiLabelDataset
    from rs_mm.datasets.seeding import SeededIndex

    class Generated(MultiLabelDataset):
        def load_data_list(self):
            return [dict(img=np.random.default_rng(0).random((9, 9, 4), np.float32))] * 3

    dataset = Generated(
        pipeline=[
            dict(type='RandomFlipRotateBands', rotate=1.0),
            dict(type='RandomPhotometricBands'),
            dict(type='RandomEraseBands', prob=0.5),
            dict(type='TorchvisionTransforms', ops=[dict(type='RandomHorizontalFlip')]),
            dict(type='PackEmbeddingInputs'),
        ]
    )
    first = [dataset[SeededIndex(1, seed)]['inputs'] for seed in range(20)]
    again = [dataset[SeededIndex(1, seed)]['inputs'] for seed in range(20)]
    assert all((a == b).all() for a, b in zip(first, again))
    assert len({a.numpy().tobytes() for a in first}) > 10
