"""FewShotSegmenter: equal to a test run, on files and arrays, with masks of every kind."""

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from PIL import Image

from rs_mm.apis import FewShotSegmenter, train
from rs_mm.apis import test as run_test
from rs_mm.apis.few_shot.segmenter import picture_metres
from rs_mm.apis.few_shot.support_masks import read_mask
from rs_mm.apis.inputs import Picture, as_picture
from rs_mm.datasets import ISAID5iDataset
from rs_mm.datasets.fake.few_shot_scenes import make_isaid_5i
from rs_mm.errors import CheckpointError, ConfigError, DataError
from rs_mm.launch.config import load_config
from rs_mm.registry import INFERENCERS, METRICS

from .test_fewshot_runs import ROOT

SMALL = {
    'model.backbone.arch': 'resnet18',
    'model.backbone.init_cfg': None,
    'model.head.in_channels': (2, 2, 2),
    'randomness.seed': 11,  # random weights that find something, and not everything
}
FUSED = {
    'model.post_processor.decomposition.arch': 'resnet18',
    'model.post_processor.decomposition.checkpoint': None,
}


def config(kind=''):
    return ROOT / f'configs/sccnet/sccnet_resnet50_256_200k_isaid_fold0{kind}.py'


@METRICS.register_module()
class KeepEpisodes(BaseMetric):
    """Keeps what a test run predicted."""

    kept = {}

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            self.kept[sample['sample_idx']] = sample
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(count=len(results))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('isaid')
    make_isaid_5i(folder, n_per_class=4, size=96)
    return folder


@pytest.fixture(scope='module')
def segmenter():
    return FewShotSegmenter(config(), options=small(96))


def small(size=96, **more):
    return {**SMALL, 'test_dataloader.dataset.pipeline.1.size': size, **more}


def episodes(root, shots=2):
    return ISAID5iDataset(
        str(root), 0, 'val', shots=shots, list_dir=f'{root}/lists', test_mode=True
    )


def fit(segmenter, info):
    images, masks = zip(*info['support_files'])
    return segmenter.fit(list(images), list(masks), class_value=info['class_id'] + 1)


@pytest.mark.parametrize(('kind', 'size'), [('', 64), ('_fuse', 96)])
def test_equals_a_test_run_to_the_last_bit(root, kind, size, tmp_path):
    dataset = episodes(root)
    fused = FUSED | {'model.post_processor.eig_dir': str(tmp_path / 'eig')} if kind else {}
    data = {
        f'test_dataloader.dataset.{key}': value
        for key, value in dict(
            data_root=str(root), list_dir=f'{root}/lists', shots=2, indices=3
        ).items()
    }
    loader = {
        'test_dataloader.batch_size': 3,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'test_evaluator.type': 'KeepEpisodes',
    }
    run = FewShotSegmenter(config(kind), options=small(size, **fused))
    torch.save(dict(state_dict=run.model.state_dict()), tmp_path / 'weights.pth')
    KeepEpisodes.kept.clear()
    run_test(
        config(kind),
        str(tmp_path / 'weights.pth'),
        small(size, **data, **loader, **fused),
        work_dir=str(tmp_path / 'work'),
    )
    found = 0
    for i in range(3):
        info, wanted = dataset.get_data_info(i), KeepEpisodes.kept[i]
        result = fit(run, info)(info['query_files'][0])
        assert result.mask.shape == result.probability.shape == (96, 96)
        rows = (torch.arange(96) * size / 96).long()
        for mine, key in ((result.mask, 'pred_mask'), (result.votes, 'votes')):
            np.testing.assert_array_equal(mine, wanted[key][rows][:, rows])
        found += result.mask.sum()
    assert 0 < found < 3 * 96 * 96


def masks_of(tmp_path):
    """One mask, as its owners may have it."""
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 15:40] = 1
    palette = Image.fromarray(mask * 3, 'P')
    palette.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 255, 0, 0])
    palette.save(tmp_path / 'palette.png')
    Image.fromarray(mask * 255).save(tmp_path / 'white.png')
    Image.fromarray(mask[..., None] * np.uint8([0, 0, 127])).save(tmp_path / 'colour.png')
    ways = [mask, mask > 0, mask * 255, Image.fromarray(mask * 255), Image.fromarray(mask > 0)]
    return mask, ways + [tmp_path / f'{name}.png' for name in ('palette', 'white', 'colour')]


def test_masks_of_every_kind_are_one(tmp_path):
    mask, ways = masks_of(tmp_path)
    for way in ways:
        np.testing.assert_array_equal(read_mask(way, Picture('a'), (40, 50)), mask)
    several = mask.copy()
    several[:5], several[5:7] = 7, 255
    found = read_mask(several, Picture('a'), (40, 50), 7)
    assert (found[:5] == 1).all() and (found[5:7] == 255).all() and found[10:].max() == 0
    colour = read_mask(tmp_path / 'colour.png', Picture('a'), (40, 50), (0, 0, 127))
    np.testing.assert_array_equal(colour, mask)


def test_polygons_over_a_georeferenced_support(tmp_path):
    rasterio, geopandas = pytest.importorskip('rasterio'), pytest.importorskip('geopandas')
    from rasterio.transform import from_origin
    from shapely.geometry import box

    place = dict(crs='EPSG:32650', transform=from_origin(5e5, 4e6, 2, 2))
    profile = dict(driver='GTiff', width=50, height=40, count=3, dtype='uint8', **place)
    with rasterio.open(tmp_path / 'a.tif', 'w', **profile) as file:
        file.write(np.full((3, 40, 50), 9, np.uint8))
    square = geopandas.GeoDataFrame(geometry=[box(500030, 3999940, 500080, 3999980)], crs=32650)
    support, wanted = as_picture(tmp_path / 'a.tif'), masks_of(tmp_path)[0]
    for path, table in (('m.gpkg', square), ('m.geojson', square.to_crs(4326))):
        table.to_file(tmp_path / path)
        np.testing.assert_array_equal(read_mask(tmp_path / path, support, (40, 50)), wanted)
    assert picture_metres(support) == pytest.approx(2, rel=1e-2)
    with pytest.raises(DataError, match='image has no georeference'):
        read_mask(tmp_path / 'm.gpkg', Picture('image', array=wanted[..., None]), (40, 50))
    square.translate(1e5).to_file(tmp_path / 'far.gpkg')
    with pytest.raises(DataError, match='far.gpkg is empty'):
        read_mask(tmp_path / 'far.gpkg', support, (40, 50))


@pytest.mark.parametrize(
    ('mask', 'value', 'message'),
    [
        (np.zeros((40, 50), np.uint8), None, 'the mask of a is empty'),
        (np.zeros((40, 50), np.uint8), 3, 'the mask of a is empty'),
        (np.ones((50, 40), np.uint8), None, 'is 40 x 50, but its image a is 50 x 40'),
        (np.arange(2000).reshape(40, 50) % 3, None, r'several classes \(the values 1, 2\); say'),
        (np.arange(2000).reshape(40, 50) % 3, 4, 'holds the values 1, 2 and not the class 4'),
        (np.full((40, 50), 0.5), None, 'holds fractions'),
        (np.ones((40, 50, 2), np.uint8), None, r'shape \(40, 50, 2\); a mask is'),
    ],
)
def test_a_mask_that_is_no_example_is_refused(mask, value, message):
    with pytest.raises(DataError, match=message):
        read_mask(mask, Picture('a'), (40, 50), value)


def test_supports_of_several_sizes_are_kept(segmenter, tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 50), (96, 96))]
    masks = [np.ones(image.shape[:2], bool) for image in images]
    query = rng.integers(0, 256, (70, 60, 3), dtype=np.uint8)
    first = segmenter.fit(images, masks, class_name='tank')([query, images[0]], batch_size=1)
    assert [result.mask.shape for result in first] == [(70, 60), (40, 50)]
    assert first[0].votes.max() <= 2 and 0 <= first[0].probability.min() < first[0].score <= 1
    segmenter.save(tmp_path / 'tanks.pth')
    segmenter.fit(images[0], masks[0])
    again = segmenter.load(tmp_path / 'tanks.pth')(query)
    np.testing.assert_array_equal(again.probability, first[0].probability)
    paths = again.save(tmp_path / 'out')
    np.testing.assert_array_equal(np.asarray(Image.open(paths[0])), again.mask * 255)
    assert np.asarray(Image.open(paths[2])).std() > 10
    torch.save(dict(state_dict={}), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='holds no few-shot supports'):
        segmenter.load(tmp_path / 'other.pth')


def test_what_cannot_be_a_support_is_said(segmenter):
    image, mask = np.zeros((40, 50, 3), np.uint8), np.ones((40, 50), bool)
    with pytest.raises(DataError, match='there is no support'):
        segmenter.fit([], [])
    with pytest.raises(DataError, match='2 supports need as many masks, but 1 came'):
        segmenter.fit([image, image], [mask])
    speck = np.zeros((4000, 4000), bool)
    speck[1, 1] = True
    with pytest.raises(DataError, match='vanishes when the support image is resized to 96 x 96'):
        segmenter.fit(np.zeros((4000, 4000, 3), np.uint8), speck)
    with pytest.raises(DataError, match='image has 6 bands, but the model takes 3'):
        segmenter.fit(image, mask)(np.zeros((9, 9, 6), np.uint8))
    with pytest.raises(ConfigError, match='there are no supports yet'):
        FewShotSegmenter(load_config(config(), small()))(image)


def test_it_is_registered_and_refuses_other_tasks():
    assert INFERENCERS.get('rs_mm.FewShotSegmenter') is FewShotSegmenter
    with pytest.raises(ConfigError, match='builds a ComposedRetriever; FewShotSegmenter needs'):
        FewShotSegmenter(ROOT / 'configs/demo/weicom_tiny_patterncom.py')


@pytest.mark.slow
def test_own_classes_train_and_test_by_config_alone(root, tmp_path):
    """FewShotFolders in place of a published set: no Python file, no class of ours."""
    names = tuple(f'kind {i}' for i in range(15))
    common = dict(
        type='FewShotFolders',
        data_root=str(root),
        fold=0,
        classes=names,
        folds=3,
        images=dict(trn='train/images', val='val/images'),
        masks=dict(trn='train/semantic_png', val='val/semantic_png'),
        mask_suffix='_instance_color_RGB.png',
        pipeline=[
            dict(type='LoadEpisode'),
            dict(type='ResizeEpisode', size=64),
            dict(type='PackEpisode'),
        ],
    )
    loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
    test = dict(loader, dataset=dict(common, _delete_=True, split='val', test_mode=True, indices=4))
    content = dict(
        _base_=str(config()),
        model=dict(backbone=dict(arch='resnet18', init_cfg=None), head=dict(in_channels=(2, 2, 2))),
        train_dataloader=dict(loader, dataset=dict(common, _delete_=True, split='trn')),
        val_dataloader=test,
        test_dataloader=test,
        train_cfg=dict(max_iters=2, val_interval=2),
        param_scheduler=[dict(type='CountedPolyLR', end=50)],
    )
    own = tmp_path / 'farms.py'
    own.write_text('\n'.join(f'{key} = {value!r}' for key, value in content.items()))
    train(own, work_dir=str(tmp_path / 'work'))
    (best,) = (tmp_path / 'work').glob('best_mIoU*.pth')
    metrics = run_test(own, str(best), work_dir=str(tmp_path / 'work'))
    assert set(metrics) == {'mIoU', 'FB-IoU'}
    assert FewShotSegmenter(own, best).model is not None
