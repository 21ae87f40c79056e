"""LabelPredictor: equal to a test run, thresholds, tiles, tables, and what it says of bad input."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from PIL import Image

from rs_mm.apis import LabelPredictor
from rs_mm.apis import test as run_test
from rs_mm.apis.labels.predictor import check_thresholds
from rs_mm.datasets import MultiLabelDataset
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.evaluation.multilabel_scores import f1_scores
from rs_mm.launch.config import load_config
from rs_mm.launch.model_loading import load_model
from rs_mm.models.memories import FeatureBank
from rs_mm.registry import INFERENCERS, METRICS

from .test_grn_runs import CONFIG, IMAGES, make_multilabel, options

MEMORY = {'custom_hooks.1.dataloader': None}


@METRICS.register_module()
class KeepScores(BaseMetric):
    """Keeps the scores of a test run."""

    kept = {}

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            self.kept[sample['name']] = sample['score'].numpy()
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(count=len(results))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('dfc15')
    make_multilabel(folder, 'dfc15', images=IMAGES, size=32)
    return folder


@pytest.fixture(scope='module')
def dataset(root):
    test = load_config(CONFIG, options(str(root))).test_dataloader.dataset
    return MultiLabelDataset(**{key: test[key] for key in test if key not in ('type', 'pipeline')})


@pytest.fixture(scope='module')
def checkpoint(root, tmp_path_factory):
    """Random weights, and a memory of random vectors with the labels of the training set."""
    loaded = load_model(CONFIG, options=options(str(root)))
    bank = next(m for m in loaded.model.modules() if isinstance(m, FeatureBank))
    labels = np.random.default_rng(0).integers(0, 2, tuple(bank.labels.shape))
    bank.set_labels(torch.from_numpy(labels))
    path = tmp_path_factory.mktemp('weights') / 'weights.pth'
    meta = dict(dataset_meta=dict(classes=[f'kind {i}' for i in range(labels.shape[1])]))
    torch.save(dict(state_dict=loaded.model.state_dict(), meta=meta), path)
    return path


@pytest.fixture(scope='module')
def predictor(root, checkpoint):
    return LabelPredictor(CONFIG, checkpoint, options=options(str(root)))


def paths_of(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def test_equals_a_test_run_to_the_last_bit(root, dataset, checkpoint, predictor, tmp_path):
    evaluators = [dict(type='KeepScores'), dict(type='KNNMetric', k=10)]
    metrics = run_test(
        CONFIG,
        str(checkpoint),
        options(str(root)) | MEMORY | {'test_evaluator': evaluators},
        work_dir=str(tmp_path),
    )
    paths = paths_of(dataset)
    found = predictor(paths)
    for result in found:
        np.testing.assert_array_equal(result.probability, KeepScores.kept[result.name])
        assert (result.label == (result.probability >= 0.5)).all()
    arrays = predictor([Image.open(paths[0]), np.asarray(Image.open(paths[0]))], batch_size=1)
    for result in (predictor(paths[0]), *arrays):
        np.testing.assert_array_equal(result.probability, arrays[0].probability)
        np.testing.assert_allclose(result.probability, found[0].probability, rtol=1e-6)
    # KNN over the memory, as published: its sample-F1 is the metric's
    by_knn = LabelPredictor(CONFIG, checkpoint, options=options(str(root)), method='knn')
    labels = np.stack([result.label for result in by_knn(paths)])
    score = f1_scores(torch.from_numpy(labels), torch.from_numpy(dataset.labels()))
    assert score['sample'] == metrics['knn/f1_sample'] > 0


def test_thresholds(root, checkpoint, dataset, predictor):
    image = paths_of(dataset)[0]
    values = predictor(image).probability
    assert predictor.classes[0] == 'kind 0'

    more = dict(options=options(str(root)), thresholds={'kind 1': 0.0, 'kind 0': 1.0})
    assert LabelPredictor(CONFIG, checkpoint, **more)(image).label[:2].tolist() == [False, True]
    assert check_thresholds(float(values[2]), predictor.classes).shape == (8,)
    with pytest.raises(ConfigError, match="no class 'kind l'; did you mean 'kind "):
        check_thresholds({'kind l': 0.5}, predictor.classes)
    with pytest.raises(ConfigError, match='2 thresholds were given for 8 classes'):
        check_thresholds([0.5, 0.5], predictor.classes)
    with pytest.raises(ConfigError, match='from 0 to 1'):
        check_thresholds(50, predictor.classes)


def test_a_bad_image_costs_itself_alone(predictor, dataset, tmp_path):
    (tmp_path / 'half.png').write_bytes(Path(paths_of(dataset)[0]).read_bytes()[:90])
    good, bad, gone = predictor([paths_of(dataset)[1], tmp_path / 'half.png', tmp_path / 'no.png'])
    assert good.reason is None and good.probability.shape == (8,)
    assert 'half.png' in bad.reason and bad.labels == [] and 'no such image' in gone.reason
    with pytest.raises(DataError, match='half.png'):
        predictor(tmp_path / 'half.png')
    with pytest.raises(MissingFileError, match='no.png'):
        predictor(tmp_path / 'no.png')
    with pytest.raises(DataError, match='6 bands, the config wants 3'):
        predictor(np.zeros((32, 32, 6), np.uint8))


def test_a_result_is_saved_and_drawn(predictor, dataset, tmp_path):
    result = predictor(paths_of(dataset)[0])
    table, picture = result.save(tmp_path)
    (row,) = csv.DictReader(table.open())
    assert row['path'] == result.path and row['labels'] == ';'.join(result.labels)
    assert float(row['kind 3']) == pytest.approx(result.probability[3], abs=1e-6)
    assert np.asarray(Image.open(picture)).std() > 10


def test_tiles_of_a_scene(predictor, tmp_path):
    rasterio = pytest.importorskip('rasterio')
    pytest.importorskip('geopandas')
    import geopandas
    from rasterio.transform import from_origin

    pixels = np.random.default_rng(1).integers(1, 256, (3, 80, 96), dtype=np.uint8)
    pixels[:, :32, :32] = 0  # without data
    profile = dict(driver='GTiff', width=96, height=80, count=3, dtype='uint8', nodata=0)
    place = dict(crs='EPSG:32650', transform=from_origin(5e5, 4e6, 2, 2), photometric='RGB')
    with rasterio.open(tmp_path / 'scene.tif', 'w', **profile, **place) as file:
        file.write(pixels)
    found = predictor(tmp_path / 'scene.tif', tile='64m', stride='32m')
    assert len(found.windows) == 4 * 5 - 1 and found.windows[0] == (0, 16, 32, 32)
    for window, values in list(zip(found.windows, found.probability))[::7]:
        tile = pixels.transpose(1, 2, 0)[window.slices]
        np.testing.assert_allclose(values, predictor(tile).probability, rtol=1e-5)
    np.testing.assert_allclose(
        predictor(pixels.transpose(1, 2, 0), tile=32, stride=16).probability[1:],
        found.probability,
        rtol=1e-5,
    )
    first = found.class_map('kind 0')
    assert first.shape == (5, 6) and np.isnan(first[0, 0]) and first[4, 5] > 0
    assert first[0, 1] == found.probability[0, 0]
    table, picture, tiles, raster, *_ = found.save(tmp_path / 'out', rasters=True)
    assert len(list(csv.DictReader(table.open()))) == 19
    grid = geopandas.read_file(tiles)
    assert len(grid) == 19 and grid.crs.to_epsg() == 4326
    metres = grid.to_crs('EPSG:32650').geometry[0].bounds
    np.testing.assert_allclose(metres, (500032, 3999936, 500096, 4e6), atol=0.01)
    with rasterio.open(raster) as file:
        assert file.transform.a == 32 and file.shape == (5, 6)
        np.testing.assert_array_equal(file.read(1), first)
    with pytest.raises(DataError, match='no georeference'):
        predictor(np.zeros((64, 64, 3), np.uint8), tile='64m')
    with pytest.raises(ConfigError, match='write pixels'):
        predictor(tmp_path / 'scene.tif', tile='much')
    with pytest.raises(DataError, match='scene.tif is 96 x 80 pixels, smaller than a tile of 90'):
        predictor(tmp_path / 'scene.tif', tile=90)


def test_models_of_another_kind_are_refused(root, checkpoint):
    with pytest.raises(ConfigError, match='has no trained memory with labels'):
        LabelPredictor(CONFIG, options=options(str(root)), method='knn')
    other = CONFIG.parents[1] / 'demo/weicom_tiny_patterncom.py'
    with pytest.raises(ConfigError, match='LabelPredictor needs a model with labels'):
        LabelPredictor(other)


def test_it_is_registered(root, checkpoint):
    more = dict(config=CONFIG, checkpoint=checkpoint, options=options(str(root)))
    built = INFERENCERS.build(dict(type='rs_mm.LabelPredictor', **more))
    assert built.method == 'classifier'
