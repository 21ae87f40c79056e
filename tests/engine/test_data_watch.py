"""Data that change under a run, and labels that say nothing, are said."""

import types

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from rs_mm.engine.hooks import RUN_HOOKS, DataWatchHook, data_watch
from rs_mm.registry import TRANSFORMS
from rs_mm.structures import EmbeddingDataSample


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(data_watch, 'print_log', lambda text, *rest: lines.append(text))
    return lines


def runner(steps, classes=('unchanged', 'changed')):
    dataset = types.SimpleNamespace(metainfo=dict(classes=classes))

    class Loader(list):
        pass

    loader = Loader(range(steps))
    loader.dataset = dataset
    return types.SimpleNamespace(train_dataloader=loader)


def dense(label, size=(8, 8), path='a.png'):
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_path=path))
    sample.gt_sem_seg = PixelData(data=torch.tensor(label).reshape(1, 1, -1))
    return sample


def run(hook, steps, *batches):
    for number, batch in enumerate(batches):
        hook.after_train_iter(runner(steps), number, dict(data_samples=batch))


def test_images_of_another_size_are_said_once(said):
    hook, good = DataWatchHook(), [dense([0, 1])]
    run(hook, 2, good, good, [dense([0, 1], (4, 8), 'b.png')], good)
    assert len(said) == 1
    assert said[0].startswith('b.png has 4 x 8 pixels, and all images before had 8 x 8.')


def test_sets_of_several_sizes_are_left_alone(said):
    hook = DataWatchHook()
    sizes = [(8, 8), (9, 8), (8, 9), (9, 9), (7, 7), (6, 6)]
    run(hook, 4, *[[dense([0, 1], size)] for size in sizes])
    assert said == []
    # two sizes in the first epoch, one of them in each batch later
    hook = DataWatchHook()
    run(hook, 1, *[[dense([0, 1], (8, 8)), dense([0, 1], (4, 4))]] * 3, [dense([0, 1], (4, 4))])
    assert said == []


def test_labels_of_one_class_are_said_at_the_end_of_an_epoch(said):
    hook, empty, full = DataWatchHook(), [dense([0, 0, 255])], [dense([0, 1])]
    run(hook, 2, empty, full, empty, full)
    assert said == []
    run(hook, 2, empty, empty, empty, empty)
    assert len(said) == 1 and 'all labels of the last 2 images hold class 0 (unchanged)' in said[0]
    run(hook, 2, full, full, empty, empty)  # it came back, and went again
    assert len(said) == 2
    run(DataWatchHook(longest=3), 10_000, *[[dense([1])]] * 3)
    assert 'class 1 (changed) alone' in said[-1]


def test_tags_that_name_no_class(said):
    def tags(*values):
        return [EmbeddingDataSample().set_gt_label(np.array(values, np.float32))]

    run(DataWatchHook(), 2, tags(0, 1, 1), tags(0, 0, 0))
    assert said == []
    run(DataWatchHook(), 2, tags(0, 0, 0), tags(0, 0, 0))
    assert len(said) == 1 and 'name no class' in said[0]


def test_files_that_are_replaced_while_a_dataset_reads_them(said, tmp_path):
    load = TRANSFORMS.build(dict(type='MultiImgLoadImageFromFile'))
    pack = TRANSFORMS.build(dict(type='MultiImgPackSegInputs'))
    paths = [str(tmp_path / name) for name in ('a.png', 'b.png')]

    def sample(side):
        for path in paths:
            Image.new('RGB', (side, side)).save(path)
        results = load(dict(img_path=paths, seg_fields=[]))
        results['gt_seg_map'] = np.eye(4, dtype=np.uint8)
        return [pack(results)['data_samples']]

    run(DataWatchHook(), 2, sample(8), sample(8), sample(6))
    assert len(said) == 1 and said[0].startswith(f'{paths[0]} has 6 x 6 pixels')


def test_batches_of_others_are_left_alone(said):
    for batch in (torch.zeros(3), [torch.zeros(2)], None, {'a': 1}):
        run(DataWatchHook(), 1, batch, batch)
    DataWatchHook().after_train_iter(runner(1), 0, [torch.zeros(1)])
    assert said == []


def test_every_run_has_it():
    assert DataWatchHook in RUN_HOOKS
