"""What the docs say was tried on real images: examples searched in a scene, images tagged.

The third trial, a tile that finds its own place, is in test_search_scenes.py.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rs_mm.apis import FewShotSegmenter, LabelPredictor, train
from rs_mm.apis import test as run_test
from rs_mm.apis.few_shot.files import segment_files
from rs_mm.apis.labels.files import label_images
from rs_mm.apis.labels.thresholds import choose_thresholds
from rs_mm.datasets.fake.few_shot_scenes import make_isaid_5i
from rs_mm.evaluation.multilabel_scores import f1_scores
from rs_mm.launch.config import load_config
from rs_mm.registry import DATASETS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LARGE_VEHICLE = (0, 127, 127)
SIDE = 128


def richest_parts(scene, colours, count):
    """The parts of a scene with the most vehicles, as pairs of an image and a coloured mask."""
    inside = (colours == LARGE_VEHICLE).all(2)
    corners = [
        (inside[y : y + SIDE, x : x + SIDE].sum(), y, x)
        for y in range(0, inside.shape[0] - SIDE + 1, SIDE)
        for x in range(0, inside.shape[1] - SIDE + 1, SIDE)
    ]
    chosen = [np.s_[y : y + SIDE, x : x + SIDE] for _, y, x in sorted(corners)[-count:]]
    return [(scene[part], colours[part]) for part in chosen]


def read(path):
    return np.asarray(Image.open(path).convert('RGB'))


def test_vehicles_of_one_scene_are_searched_in_another(samples, tmp_path):
    """The model has seen generated shapes alone, for two minutes."""
    data = tmp_path / 'data'
    make_isaid_5i(data, size=SIDE)
    config = ROOT / 'configs/demo/sccnet_fake_isaid_fold0.py'
    options = {
        f'{split}_dataloader.dataset.{key}': str(value)
        for split in ('train', 'val', 'test')
        for key, value in dict(data_root=data, list_dir=data / 'lists').items()
    }
    train(config, options, work_dir=str(tmp_path / 'run'))
    (checkpoint,) = (tmp_path / 'run').glob('best_mIoU*.pth')
    given = samples / 'isaid/train/images/P0005.png'
    parts = richest_parts(read(given), read(given.with_name('P0005_instance_color_RGB.png')), 3)
    segmenter = FewShotSegmenter(config, checkpoint)
    segmenter.fit(*zip(*parts), class_value=LARGE_VEHICLE, class_name='large vehicle')
    query = samples / 'isaid/val/images/P0003.png'
    (row,) = segment_files(segmenter, [query], tmp_path / 'found')
    assert row.status == 'done' and row.pixels > 0
    found = np.asarray(Image.open(tmp_path / 'found/P0003_mask.png')) > 0
    true = (read(query.with_name('P0003_instance_color_RGB.png')) == LARGE_VEHICLE).all(2)
    assert found.shape == true.shape and found.sum() == row.pixels
    overlap = (found & true).sum() / (found | true).sum()
    assert overlap > 2 * true.mean(), overlap  # the score of a mask of the whole scene is the mean


def test_real_images_are_tagged(samples, tmp_path):
    config = 'sndl-bce_resnet18_64_20e_aid'
    options = {
        f'{split}_dataloader.{key}': value
        for split in ('train', 'val', 'test')
        for key, value in {
            'dataset.data_root': str(samples / 'aid'),
            'num_workers': 0,
            'persistent_workers': False,
        }.items()
    }
    options |= {'train_cfg.max_epochs': 3, 'train_cfg.val_interval': 3}
    train(config, options, work_dir=str(tmp_path / 'run'))
    trained = str(tmp_path / 'run/epoch_3.pth')
    dataset = DATASETS.build(load_config(config, options).test_dataloader.dataset)
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    true = torch.from_numpy(np.stack([dataset.get_data_info(i)['gt_label'] for i in range(600)]))

    # by the neighbours: the figure is that of a test run, to the last bit
    metrics = run_test(config, trained, options, work_dir=str(tmp_path / 'test'))
    by_knn = LabelPredictor(config, trained, options=options, method='knn')
    labels = torch.from_numpy(np.stack([result.label for result in by_knn(paths)]))
    assert f1_scores(labels, true)['sample'] == metrics['knn/f1_sample'] > 0.6

    # by the classifier, with a threshold of the validation images, over all 3,000 images
    chosen = choose_thresholds(config, trained, tmp_path / 'chosen.pth', options=options)
    assert chosen.after['sample'] >= chosen.before['sample']
    predictor = LabelPredictor(config, tmp_path / 'chosen.pth', options=options)
    assert not label_images(predictor, [samples / 'aid'], tmp_path / 'tags.csv')
    with open(tmp_path / 'tags.csv', newline='') as file:
        rows = {row['path']: row for row in csv.DictReader(file)}
    assert len(rows) == 3000
    tagged = [set(filter(None, rows[path]['labels'].split(';'))) for path in paths]
    found = torch.tensor([[name in tags for name in predictor.classes] for tags in tagged])
    probability = torch.tensor([[float(rows[p][n]) for n in predictor.classes] for p in paths])
    score = f1_scores(found, true)['sample']
    assert score == f1_scores(probability >= chosen.values[0], true)['sample'] > 0.7
