"""The published seeded split, name for name."""

import re

import pytest

from rs_mm.datasets.label_tables import read_label_table
from rs_mm.datasets.multilabel_dataset import MultiLabelDataset
from rs_mm.datasets.scene_split import SceneSplit
from rs_mm.errors import ConfigError
from tests.parity import load_case

SETS = dict(UCMerced='ucm', AID_multilabel='aid', DFC15_multilabel='dfc15')


def published_paths(name):
    """Paths of all images: one folder per scene for UCM and AID, one flat folder for DFC15."""
    suffix = load_case('grn', 'splits')[0]['settings'][name]['extension']
    names = read_label_table(SETS[name]).names
    folder = '' if name.startswith('DFC15') else r'\g<1>/'
    # where the two folders of the published download are kept, the split is the same
    parts = [('part1', 'part2')[i % 2] for i in range(len(names))]
    return {
        image: re.sub(r'^(\D*?)_?\d+$', rf'{part}/{folder}', image) + f'{image}.{suffix}'
        for image, part in zip(names, parts)
    }


@pytest.mark.parametrize('subset', ['train', 'val', 'test'])
@pytest.mark.parametrize('name', list(SETS))
def test_split_equals_the_original(name, subset):
    _, recorded = load_case('grn', 'splits')
    paths = published_paths(name)
    by_folder = name != 'DFC15_multilabel'
    names = SceneSplit(subset, by_folder, expected=len(paths))(paths)
    assert names == [image.decode() for image in recorded[f'{name}_{subset}']]


def test_products_are_truncated():
    paths = {f'a{i}': f'x/a{i}.png' for i in range(90)}
    sizes = [len(SceneSplit(subset)(paths)) for subset in ('train', 'val', 'test')]
    assert sizes == [62, 10, 18]


def test_real_aid_gives_the_published_split(samples):
    _, recorded = load_case('grn', 'splits')
    for subset in ('train', 'val', 'test'):
        dataset = MultiLabelDataset(
            data_root=str(samples / 'aid'),
            img_dirs='*',
            label_table='aid',
            split=dict(type='SceneSplit', subset=subset, expected=3000),
        )
        assert dataset.names() == [name.decode() for name in recorded[f'AID_multilabel_{subset}']]


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match='`subset` must be one of train, val, test'):
        SceneSplit('training')
    with pytest.raises(ConfigError, match='needs all 5 images, 1 are there'):
        SceneSplit('train', expected=5)(dict(a='x/a.png'))
