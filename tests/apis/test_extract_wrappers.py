"""Extraction where a split's dataset is one of mmengine's wrappers."""

from pathlib import Path

import pytest
import torch

from rs_mm.apis import ImageSearch, evaluate_features, extract
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.datasets.image_archive import AnyArchive
from rs_mm.datasets.label_tables import read_names
from rs_mm.errors import ConfigError, DataError
from rs_mm.launch.config import load_config
from rs_mm.registry import DATASETS

from .test_extract import CONFIG, make_checkpoint, options

AT = {'test_evaluator.at': [5], 'test_evaluator.shared_at': [1], 'test_evaluator.rerank': []}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('ucm')
    make_multilabel(root, 'ucm', images=105, size=32)
    return root


@pytest.fixture(scope='module')
def checkpoint(data, tmp_path_factory):
    return make_checkpoint(data, tmp_path_factory.mktemp('run'), 0)


@pytest.fixture
def run(data, checkpoint, tmp_path):
    """Extracts a split of the config in which ``datasets`` replace those of splits."""

    def call(out, split='test', archive=None, **datasets):
        cfg = load_config(CONFIG, options(data))
        for key, wrap in datasets.items():
            cfg[f'{key}_dataloader'].dataset = wrap(cfg)
        cfg.dump(tmp_path / f'{out}.py')
        return extract(
            tmp_path / f'{out}.py',
            checkpoint,
            tmp_path / out,
            split,
            archive,
            work_dir=str(tmp_path / 'work'),
        )

    return call


def concat(*splits):
    return lambda cfg: dict(
        type='ConcatDataset', datasets=[cfg[f'{split}_dataloader'].dataset for split in splits]
    )


def repeat(split, times=3):
    return lambda cfg: dict(
        type='RepeatDataset', times=times, dataset=cfg[f'{split}_dataloader'].dataset
    )


def names_of(data, *splits):
    return [name for split in splits for name in read_names(data / f'{split}.csv')]


def test_a_concatenation_is_the_images_of_its_parts(run, data, checkpoint, tmp_path):
    both = run('both', test=concat('val', 'test'))
    assert both.names == names_of(data, 'val', 'test')
    assert all(Path(path).stem == name for path, name in zip(both.paths, both.names))
    alone = [run('val', 'val'), run('test', 'test')]
    torch.testing.assert_close(
        both.features, torch.cat([part.features for part in alone]), atol=1e-5, rtol=0
    )
    # the parts share a pipeline, by which queries are prepared
    search = ImageSearch(None, tmp_path / 'both.py', checkpoint, features=tmp_path / 'both')
    assert search(both.paths[-1], k=1)[0].path == both.paths[-1]
    assert len(run('folder', archive=str(data / 'Images'), test=concat('val', 'test')).names) == 105


def test_metrics_of_a_concatenation(run, data, tmp_path):
    run('both', test=concat('val', 'test'))
    found = evaluate_features(tmp_path / 'both.py', tmp_path / 'both', options=AT)
    header, *lines = (data / 'val.csv').read_text().splitlines()
    lines += (data / 'test.csv').read_text().splitlines()[1:]
    # one split file of both, in another order
    (data / 'all.csv').write_text('\n'.join([header, *sorted(lines)]) + '\n')
    whole = {'test_dataloader.dataset.ann_file': 'all.csv', **options(data), **AT}
    assert found == pytest.approx(
        evaluate_features(CONFIG, tmp_path / 'both', options=whole), nan_ok=True, rel=1e-4
    )
    # the parts in another order than that of the features
    run('turned', test=concat('test', 'val'))
    assert found == pytest.approx(
        evaluate_features(tmp_path / 'turned.py', tmp_path / 'both', options=AT),
        nan_ok=True,
        rel=1e-4,
    )


def test_a_repeated_training_set_is_seen_once(run, data):
    found = run(
        'repeated',
        'train',
        train=lambda cfg: dict(
            type='ConcatDataset', datasets=[repeat('train')(cfg), repeat('val', 2)(cfg)]
        ),
    )
    assert found.names == names_of(data, 'train', 'val')
    again = run('plain', 'train')
    # by the test pipeline, although `train_dataloader` has one that flips
    torch.testing.assert_close(
        found.features[: len(again.names)], again.features, atol=1e-5, rtol=0
    )


def test_an_unreadable_image_of_a_later_part(run, data, tmp_path):
    name = names_of(data, 'test')[0]
    image = next((data / 'Images').glob(f'**/{name}.tif'))
    whole = image.read_bytes()
    image.write_bytes(b'no image')
    try:
        found = run('damaged', test=concat('val', 'test'))
    finally:
        image.write_bytes(whole)
    assert list(found.unreadable) == [name] and name not in found.names


def test_what_cannot_be_extracted_is_told(run, data, tmp_path):
    with pytest.raises(DataError, match='two images of the archive are named .*; extract the sets'):
        run('twice', test=concat('val', 'val'))

    def other_pipeline(cfg):
        parts = concat('val', 'test')(cfg)
        parts['datasets'][1].pipeline = cfg.test_dataloader.dataset.pipeline[:1]
        return parts

    with pytest.raises(ConfigError, match='in `test_dataloader` have different pipelines'):
        run('mixed', 'train', test=other_pipeline)

    @DATASETS.register_module()
    class NoArchive(list):
        pass

    try:
        with pytest.raises(ConfigError, match='NoArchive cannot be taken as an archive'):
            AnyArchive(dict(type='NoArchive'))
    finally:
        DATASETS.module_dict.pop('NoArchive')


def test_parts_with_pipelines_of_their_own(data):
    def part(split, size):
        return dict(
            type='MultiLabelDataset',
            data_root=str(data),
            ann_file=f'{split}.csv',
            pipeline=[
                dict(type='LoadBandImage'),
                dict(type='ResizeBands', size=size),
                dict(type='PackEmbeddingInputs'),
            ],
        )

    archive = AnyArchive(dict(type='ConcatDataset', datasets=[part('val', 8), part('test', 16)]))
    sides = [archive[i]['inputs'].shape[-1] for i in range(len(archive))]
    count = len(names_of(data, 'val'))
    assert sides == [8] * count + [16] * len(names_of(data, 'test'))
    assert len(archive.pipeline) == 2
    assert [name for name, *_ in archive.files()] == names_of(data, 'val', 'test')
    assert archive.get_data_info(count)['name'] == archive.files()[count][0]
