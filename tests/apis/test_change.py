"""Predicting pairs in memory and from files, without labels."""

import numpy as np
import pytest
import tifffile
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from rs_mm.apis.change.detector import ChangeDetector, ChangeMap
from rs_mm.apis.change.loading import PairLoading
from rs_mm.datasets.transforms.multi_img_loading import MultiImgLoadTiff
from rs_mm.errors import CheckpointError, ConfigError, DataError
from rs_mm.rasters import align_pair, raster_from_array
from rs_mm.registry import TRANSFORMS
from tests.toy_change import toy_model_config

TEST_PIPELINE = [
    dict(type='MultiImgLoadImageFromFile'),
    dict(type='MultiImgResize', scale=(32, 32), keep_ratio=True),
    dict(type='MultiImgLoadAnnotations'),
    dict(type='MultiImgPackSegInputs'),
]


def config():
    return Config(
        dict(
            default_scope='rs_mm',
            model=toy_model_config(),
            test_dataloader=dict(dataset=dict(pipeline=TEST_PIPELINE)),
        )
    )


def detector(**kwargs):
    torch.manual_seed(0)
    return ChangeDetector(config(), device='cpu', **kwargs)


def images(h, w, bands=3, dtype=np.uint8, high=255):
    rng = np.random.default_rng(h)
    return [rng.integers(0, high, (h, w, bands)).astype(dtype) for _ in range(2)]


def test_any_size_from_arrays():
    for h, w in ((50, 70), (33, 20)):
        found = detector()(*images(h, w))
        assert found.mask.shape == found.probability.shape == (h, w)
        assert found.mask.dtype == np.uint8 and found.probability.dtype == np.float32
        np.testing.assert_array_equal(found.mask == 1, found.probability > 0.5)


def test_arrays_are_rgb_and_equal_files(tmp_path):
    pair = images(40, 40)
    for path, image in zip('ab', pair):
        tifffile.imwrite(tmp_path / f'{path}.tif', image, photometric='rgb')
    from_files = detector()(tmp_path / 'a.tif', tmp_path / 'b.tif')
    np.testing.assert_array_equal(detector()(*pair).probability, from_files.probability)
    swapped = detector()(*[image[..., ::-1] for image in pair])
    assert (swapped.probability != from_files.probability).any()


def test_tiles_equal_the_whole():
    """One convolution sees one pixel around, and the rim of a tile weighs next to nothing."""
    pair = images(150, 90)
    whole = detector()(*pair)
    tiled = detector(tile=64, overlap=32)(*pair)
    np.testing.assert_allclose(tiled.probability, whole.probability, atol=0.02)
    assert (tiled.mask != whole.mask).mean() < 1e-3
    batched = detector(tile=64, overlap=32, batch=3)(*pair)
    np.testing.assert_allclose(batched.probability, tiled.probability, atol=1e-6)
    with pytest.raises(ConfigError, match='tile'):
        detector(tile=64, overlap=64)


def test_resize_as_the_test_pipeline_does():
    pair = images(64, 48)
    assert detector(resize=True)(*pair).mask.shape == (64, 48)
    assert (detector(resize=True)(*pair).probability != detector()(*pair).probability).any()


def loaded(pair, step='MultiImgLoadImageFromFile', bands=None, value_range=None, **keys):
    """What the network would get of a pair in memory, in RGB order."""
    rasters = [raster_from_array(image, f'date {i}') for i, image in enumerate(pair, 1)]
    loading = PairLoading(dict(type=step, **keys), bands, value_range)
    loading.choose_bands(*rasters)
    aligned = align_pair(*rasters)
    loading.fit(aligned, [None, None])
    return loading.read(aligned, slice(0, pair[0].shape[0]), slice(0, pair[0].shape[1]))


def test_bands_and_depth():
    pair = images(40, 50, bands=5, dtype=np.uint16, high=4000)
    bgr, valid = loaded(pair, bands=(4, 2, 0))
    assert all(image.dtype == np.uint8 and image.shape == (40, 50, 3) for image in bgr)
    low, high = np.percentile(np.stack(pair)[..., 2], (2, 98))
    expected = np.clip((pair[0][..., 2] - low) / (high - low), 0, 1) * 255
    assert np.abs(bgr[0][..., 1] - expected).max() <= 1 and valid.all()
    fixed = loaded(pair, bands=(0, 0, 0), value_range=(0, 4000))[0]
    assert np.abs(fixed[1][..., 0] - pair[1][..., 0] / 4000 * 255).max() <= 1
    grey = loaded([image[..., 0].astype(np.uint8) for image in pair])[0]
    assert grey[0].shape == (40, 50, 3)
    with pytest.raises(ConfigError, match='colour images.*3 bands, but 4'):
        loaded(pair, bands=(0, 1, 2, 3))


@pytest.mark.parametrize('keys', [{}, dict(bands=[3, 0]), dict(value_range=(0, 4000))])
def test_pixels_are_those_of_the_loader(tmp_path, keys):
    """A model on other bands or values gets what training gave it."""
    pair = images(40, 50, bands=4, dtype=np.uint16, high=4000)
    paths = [str(tmp_path / name) for name in ('a.tif', 'b.tif')]
    for path, image in zip(paths, pair):
        tifffile.imwrite(path, image, photometric='minisblack', planarconfig='contig')
    expected = MultiImgLoadTiff(**keys)(dict(img_path=paths))['img']
    for found, wanted in zip(loaded(pair, 'MultiImgLoadTiff', **keys)[0], expected):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_nodata_takes_no_part():
    """Nodata of either date leaves stretch, prediction and map as if it were not there."""
    pair = images(80, 90, dtype=np.float32, high=3000)
    expected = detector()(*pair, value_range=(0, 3000))
    pair[0][:20], pair[1][:, :15] = np.nan, np.inf
    found = detector()(*pair, value_range=(0, 3000))
    hole = np.zeros((80, 90), bool)
    hole[:20], hole[:, :15] = True, True
    np.testing.assert_array_equal(found.valid, ~hole)
    assert np.isnan(found.probability[hole]).all() and (found.mask[hole] == 255).all()
    far = (slice(22, None), slice(17, None))
    np.testing.assert_allclose(found.probability[far], expected.probability[far], atol=1e-6)
    stretched = detector()(*pair)
    assert 0 < stretched.mask[~hole].mean() < 1
    with pytest.raises(DataError, match='date 1 holds no data'):
        detector()(np.full((9, 9, 3), np.nan, np.float32), pair[1][:9, :9])
    pair[0][40:], pair[1][:40] = np.nan, np.nan
    with pytest.raises(DataError, match='no pixel in common'):
        detector()(*pair)


class _Head(torch.nn.Module):
    out_channels, threshold = 1, 0.3


@pytest.mark.parametrize('kind', ['logits', 'probabilities'])
def test_a_head_of_one_channel(kind):
    found = detector()
    found.model.decode_head = _Head()
    values = torch.linspace(-3, 3, 600).reshape(1, 20, 30)
    shown = values.sigmoid() if kind == 'probabilities' else values

    def test_step(batch):
        sample = SegDataSample(seg_logits=PixelData(data=shown))
        sample.pred_sem_seg = PixelData(data=(values.sigmoid() > 0.3).long())
        return [sample]

    found.model.test_step = test_step
    made = found(*images(20, 30))
    np.testing.assert_allclose(made.probability, values.sigmoid()[0], atol=1e-6)
    np.testing.assert_array_equal(made.mask, values.sigmoid()[0] > 0.3)
    found.threshold = 0.8
    np.testing.assert_array_equal(found(*images(20, 30)).mask, values.sigmoid()[0] > 0.8)


def test_several_classes():
    torch.manual_seed(0)
    given = config()
    given.test_dataloader.dataset.update(
        type='ChangeDetectionDataset', metainfo=dict(classes=('same', 'new', 'gone'))
    )
    found = ChangeDetector(given, device='cpu')
    assert found.classes == ('same', 'new', 'gone') and len(found.palette) == 3
    found.model.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
    made = found(*images(40, 50))
    assert set(np.unique(made.mask)) == {0, 1, 2}
    found.threshold = 0.0
    changed = found(*images(40, 50)).mask
    assert (changed > 0).all() and (changed[made.mask > 0] == made.mask[made.mask > 0]).all()


def test_the_loader_of_a_foreign_scope():
    given = config()
    given.default_scope = 'opencd'
    given.test_dataloader.dataset.pipeline = [
        dict(type='opencd.MultiImgLoadImageFromFile'),
        dict(type='rs_mm.MultiImgPackSegInputs'),
    ]
    assert ChangeDetector(given, device='cpu')(*images(20, 30)).mask.shape == (20, 30)


@TRANSFORMS.register_module()
class LoadInverse(BaseTransform):
    """A loader of one's own: bands turned around and inverted."""

    def transform(self, results):
        results['img'] = [255 - tifffile.imread(p)[..., ::-1] for p in results['img_path']]
        return results


def test_a_loader_of_ones_own(tmp_path):
    pair = images(50, 60)
    for path, image in zip('ab', pair):
        tifffile.imwrite(tmp_path / f'{path}.tif', 255 - image, photometric='rgb')
    expected = detector(tile=32, overlap=8)(*pair)
    given = config()
    given.test_dataloader.dataset.pipeline[0] = dict(type='LoadInverse')
    torch.manual_seed(0)
    found = ChangeDetector(given, device='cpu', tile=32, overlap=8)
    made = found(tmp_path / 'a.tif', tmp_path / 'b.tif')
    np.testing.assert_array_equal(made.probability, expected.probability)
    with pytest.raises(ConfigError, match='LoadInverse, which reads files'):
        found(*pair)


def test_options_of_a_loaded_config():
    given = config()
    options = ['model.data_preprocessor.size_divisor=64']
    found = ChangeDetector(given, device='cpu', options=options)
    assert found.model.data_preprocessor.size_divisor == 64
    assert given.model.data_preprocessor.size_divisor == 32
    with pytest.raises(ConfigError, match='no key `nonsense`'):
        ChangeDetector(given, device='cpu', options=['nonsense.key=3'])


def test_bad_input(tmp_path):
    first, second = images(40, 50)
    with pytest.raises(DataError, match='date 1 has 40 x 50 .* date 2 has 39 x 50.*--align crop'):
        detector()(first, second[1:])
    for empty in ((5, 5), (200, 100)):
        with pytest.raises(ConfigError, match='value_range must be .* low < high'):
            detector()(first, second, value_range=empty)
    with pytest.raises(DataError, match='date 1 has bands 0 to 2, but band 3'):
        detector()(first, second, bands=(3, 2, 1))
    torch.save(dict(state_dict={'other': torch.zeros(1)}), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='is of another model: 0 of its 1 weights'):
        detector(checkpoint=tmp_path / 'x.pth')


@pytest.mark.parametrize('device', ['foo', 'cuda:99', 'meta:x'])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ConfigError, match=f"device '{device}' does not exist; this machine has"):
        ChangeDetector(config(), device=device)


def test_a_map_is_drawn_and_saved(tmp_path):
    mask = np.zeros((20, 30), np.uint8)
    mask[:5], mask[10:, :10] = 1, 255
    probability = np.where(mask == 255, np.nan, mask * 0.8).astype(np.float32)
    found = ChangeMap(mask, probability, mask != 255)
    paths = found.save(tmp_path, 'a')
    assert [path.name for path in paths] == ['a_mask.png', 'a_probability.png', 'a_picture.png']
    kept = np.asarray(Image.open(paths[0]))
    assert kept[0, 0] == 255 and kept[7, 0] == 0 and kept[12, 2] == 127
    assert np.asarray(Image.open(paths[2])).std() > 10
