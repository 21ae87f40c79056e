import runpy

import cv2
import numpy as np
import pytest
import tifffile
import torch

from rs_mm.datasets import MultiLabelDataset
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.datasets.label_tables import (
    CLASSES,
    PACKED,
    read_label_table,
    read_names,
    read_split_file,
)
from rs_mm.datasets.splits import random_split
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import TASK_UTILS
from tests import fill
from tests.parity import load_case

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pipeline(reverse_statistics=True):
    return [
        dict(type='LoadBandImage', num_bands=3),
        dict(type='ResizeBands', size=256),
        dict(type='ScaleBands'),
        dict(type='NormalizeBands', mean=MEAN, std=STD, reverse_statistics=reverse_statistics),
        dict(type='PackEmbeddingInputs'),
    ]


def write_images(folder, names, suffix='.png', shape=(8, 9, 3)):
    folder.mkdir(parents=True, exist_ok=True)
    for value, name in enumerate(names):
        img = np.full(shape, value, np.uint8)
        if suffix.lower() == '.tif':
            tifffile.imwrite(folder / f'{name}{suffix}', img)
        else:
            cv2.imwrite(str(folder / f'{name}{suffix}'), img)


@pytest.mark.parametrize('size', ['256x256', '600x600', '250x300'])
@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_image_pipeline_equals_original(tmp_path, size, suffix):
    _, expected = load_case('oml', 'image_pipeline')
    height, width = map(int, size.split('x'))
    img = fill.field(f'oml/img/rgb{size}', (1, 3, height, width))[0].transpose(1, 2, 0)
    img = np.round(img * 255).astype(np.uint8)
    (tmp_path / 'Images').mkdir()
    if suffix == '.tif':
        tifffile.imwrite(tmp_path / 'Images/a.tif', img, photometric='rgb')
    else:
        cv2.imwrite(str(tmp_path / 'Images/a.png'), img[..., ::-1])
    label = expected[f'label_{size}'].astype(int)
    (tmp_path / 'train.csv').write_text('a, ' + ', '.join(map(str, label)) + '\n')
    dataset = MultiLabelDataset(
        data_root=str(tmp_path), ann_file='train.csv', classes='ucm', pipeline=pipeline()
    )
    sample = dataset[0]
    assert sample['inputs'].dtype == torch.float32
    assert np.allclose(sample['inputs'][:, ::8, ::8], expected[f'input_{size}'], atol=1e-5)
    assert np.allclose(sample['inputs'].mean((1, 2)), expected[f'input_mean_{size}'], atol=1e-5)
    assert np.array_equal(sample['data_samples'].gt_label, expected[f'label_{size}'])
    resized = dataset.pipeline.transforms[1](dict(img=img))['img']
    assert np.array_equal(resized[::2, ::2], expected[f'resized_{size}'])


def test_matched_statistics_differ_in_red_and_blue_only(tmp_path):
    write_images(tmp_path / 'Images', ['a'])
    make = dict(data_root=str(tmp_path))
    published = MultiLabelDataset(pipeline=pipeline(), **make)[0]['inputs']
    matched = MultiLabelDataset(pipeline=pipeline(False), **make)[0]['inputs']
    assert torch.equal(published[1], matched[1])
    assert torch.allclose(matched[:, 0, 0], -torch.tensor(MEAN) / torch.tensor(STD))
    assert torch.allclose(published[0], matched[2])


@pytest.mark.parametrize('rows', [2100, 4940])
def test_random_split_equals_original(rows):
    _, expected = load_case('oml', 'splits')
    for name, chosen in random_split(rows).items():
        assert np.array_equal(chosen, expected[f'n{rows}_{name}'])


def run_split_tool(*args):
    tool = runpy.run_path('tools/dataset_converters/multilabel_splits.py')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', ['multilabel_splits.py', *map(str, args)])
        tool['main']()


def test_split_tool_random(tmp_path):
    _, expected = load_case('oml', 'splits')
    run_split_tool('ucm', tmp_path)
    table = read_label_table('ucm')
    for split in ('train', 'val', 'test'):
        written = read_split_file(tmp_path / f'{split}.csv', 17)
        rows = expected[f'n2100_{split}']
        assert written.names == [table.names[row] for row in rows]
        assert np.array_equal(written.labels, table.labels[rows])


def test_split_tool_refuses_what_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit, match='2'):
        run_split_tool('ucm', tmp_path / 'none')
    assert 'there is no folder' in capsys.readouterr().err and not (tmp_path / 'none').exists()
    (tmp_path / 'table.csv').write_text('a,1,0\nb,0,1\n')
    with pytest.raises(DataError, match="table.csv, line 1: .* not with the labels of 'a'"):
        read_label_table(str(tmp_path / 'table.csv'))


def test_split_tool_by_folder(tmp_path, capsys):
    (tmp_path / 'table.csv').write_text('image,x\na,1\nb,0\nc,1\n')
    write_images(tmp_path / 'images_tr/s', ['c', 'a'])
    with pytest.raises(SystemExit, match='2'):
        run_split_tool(tmp_path / 'table.csv', tmp_path, '--by-folder')
    assert 'has no folder test or images_test' in capsys.readouterr().err
    write_images(tmp_path / 'test', ['d'])
    with pytest.raises(SystemExit, match='2'):
        run_split_tool(tmp_path / 'table.csv', tmp_path, '--by-folder')
    assert "'b' of the label table lies in 0 of the two folders" in capsys.readouterr().err
    write_images(tmp_path / 'test', ['b'])
    run_split_tool(tmp_path / 'table.csv', tmp_path, '--by-folder')
    assert (tmp_path / 'train.csv').read_text() == 'image,x\na,1\nc,1\n'
    assert (tmp_path / 'test.csv').read_text() == 'image,x\nb,0\n'
    assert not (tmp_path / 'val.csv').exists()


def test_packed_tables():
    totals = dict(ucm=(2100, 17, 3.33), aid=(3000, 17, 5.15), dfc15=(3342, 8, 2.80))
    for source in PACKED:
        table = read_label_table(source)
        images, classes, mean = totals[source]
        assert table.labels.shape == (images, classes) and table.classes == CLASSES[source]
        assert round(float(table.labels.sum(1).mean()), 2) == mean


@pytest.mark.parametrize(
    'dataset, by_scene',
    [
        ('ucm', False),
        ('ucm', True),
        ('aid', False),
        ('aid', True),
        ('whdld', False),
        ('dfc15', False),
    ],
)
def test_fake_sets_have_the_true_layout(tmp_path, dataset, by_scene):
    splits = make_multilabel(tmp_path, dataset, images=40, size=16, by_scene=by_scene)
    folders = ['Images', 'Images/*', 'train', 'val', 'test']
    for mode, names in splits.items():
        loaded = MultiLabelDataset(
            data_root=str(tmp_path),
            ann_file=f'{mode}.csv',
            img_dirs=folders,
            classes=dataset,
            pipeline=pipeline(),
        )
        assert loaded.names() == names
        assert loaded.labels().shape == (len(names), len(CLASSES[dataset]))
        assert loaded[0]['inputs'].shape == (3, 256, 256)
    if by_scene:
        assert (tmp_path / 'Images').is_dir() and not (tmp_path / 'train').is_dir()
    if dataset != 'whdld':
        by_table = MultiLabelDataset(
            data_root=str(tmp_path),
            img_dirs=folders,
            classes=dataset,
            label_table=dataset,
            split=splits['val'],
        )
        from_csv = MultiLabelDataset(
            data_root=str(tmp_path), img_dirs=folders, classes=dataset, ann_file='val.csv'
        )
        assert np.array_equal(by_table.labels(), from_csv.labels())


def test_split_by_registered_util_and_by_file(tmp_path):
    write_images(tmp_path / 'Images/x', ['b', 'a', 'c'])
    (tmp_path / 'table.csv').write_text('image,one,two\nc,1,0\na,0,1\nb,1,1\n')
    (tmp_path / 'names.txt').write_text('b\nc\n')

    @TASK_UTILS.register_module(name='_Reversed', force=True)
    class Reversed:
        def __init__(self, drop):
            self.drop = drop

        def __call__(self, paths):
            assert list(paths) == ['c', 'a', 'b'] and paths['a'].endswith('x/a.png')
            return [name for name in reversed(paths) if name != self.drop]

    make = dict(data_root=str(tmp_path), img_dirs='Images/*', label_table='table.csv')
    by_util = MultiLabelDataset(split=dict(type='_Reversed', drop='c'), **make)
    assert by_util.names() == ['b', 'a'] and by_util.labels().tolist() == [[1, 1], [0, 1]]
    assert [by_util.get_cat_ids(i) for i in range(2)] == [[0, 1], [1]]
    by_file = MultiLabelDataset(split='names.txt', **make)
    assert by_file.names() == ['b', 'c'] and by_file.metainfo['classes'] == ('one', 'two')


def test_images_without_labels(tmp_path):
    write_images(tmp_path / 'Images', ['b', 'a'], suffix='.JPG')
    dataset = MultiLabelDataset(data_root=str(tmp_path), pipeline=pipeline())
    sample = dataset[0]['data_samples']
    assert dataset.names() == ['a', 'b'] and 'gt_label' not in sample
    assert sample.name == 'a' and sample.sample_idx == 0 and sample.img_path.endswith('a.JPG')


@pytest.mark.parametrize(
    'row, message',
    [
        ('b,1,0,1', r'train.csv, line 2: 3 labels for \'b\', but the class list has 2'),
        ('b,1,2', r"train.csv, line 2: label '2' of 'b' is neither 0 nor 1"),
        ('b,1,', r"train.csv, line 2: label '' of 'b' is neither 0 nor 1"),
        ('a,1,0', r"train.csv, line 2: 'a' is listed twice, first in line 1"),
        ('z,1,0', r"train.csv, line 2: 'z' has no image in .*Images .*1 of 2 names have none"),
    ],
)
def test_bad_rows(tmp_path, row, message):
    write_images(tmp_path / 'Images', ['a', 'b'])
    (tmp_path / 'train.csv').write_text(f'a,1,0\n{row}\n')
    with pytest.raises(DataError, match=message):
        MultiLabelDataset(data_root=str(tmp_path), ann_file='train.csv', classes=['p', 'q'])


def test_bad_sets(tmp_path):
    make = dict(data_root=str(tmp_path))
    with pytest.raises(MissingFileError, match='no folder .*Images'):
        MultiLabelDataset(**make)
    (tmp_path / 'Images').mkdir()
    with pytest.raises(MissingFileError, match='no image with a suffix'):
        MultiLabelDataset(**make)
    write_images(tmp_path / 'Images', ['a'])
    with pytest.raises(MissingFileError, match='none.csv: no such label or split file'):
        MultiLabelDataset(ann_file='none.csv', **make)
    with pytest.raises(ConfigError, match='not both'):
        MultiLabelDataset(ann_file='a.csv', label_table='ucm', **make)
    with pytest.raises(ConfigError, match="no class names are known for 'ucx'"):
        MultiLabelDataset(classes='ucx', **make)
    with pytest.raises(DataError, match="has no labels for 1 of 1 names .* 'a'"):
        MultiLabelDataset(label_table='ucm', split=['a'], **make)
    with pytest.raises(DataError, match="the split of .*: 'a' is listed twice"):
        MultiLabelDataset(label_table='ucm', split=['a', 'b', 'a'], **make)
    with pytest.raises(DataError, match="header names 17 classes and `classes` 8.*'impervious'"):
        MultiLabelDataset(label_table='ucm', classes='dfc15', **make)
    write_images(tmp_path / 'Images', ['a'], '.tif')
    with pytest.raises(DataError, match='two images have the same name'):
        MultiLabelDataset(**make)


@pytest.mark.parametrize('kind', ['label_table', 'ann_file'])
def test_columns_are_matched_by_name(tmp_path, kind):
    """A header in another order must not give every image another label."""
    write_images(tmp_path / 'Images', ['i0', 'i1'])
    make = {kind: 'table.csv', 'data_root': str(tmp_path)}
    table = tmp_path / 'table.csv'
    table.write_text('image,water,bare-soil,"trees, tall"\ni0,1,0,0\ni1,0,0,1\n')
    classes = ['Bare Soil', 'trees, tall', 'water']
    dataset = MultiLabelDataset(classes=classes, **make)
    assert dataset.labels().tolist() == [[0, 0, 1], [0, 1, 0]]
    assert dataset.metainfo['classes'] == tuple(classes)
    dataset = MultiLabelDataset(**make)
    assert dataset.metainfo['classes'] == ('water', 'bare-soil', 'trees, tall')
    assert dataset.labels().tolist() == [[1, 0, 0], [0, 0, 1]]
    for classes, words in (
        (['water', 'soil', 'trees, tall'], "the header lacks 'soil'; it also has 'bare-soil'"),
        (['water', 'Water', 'x'], 'two classes have the same name'),
    ):
        with pytest.raises(DataError, match=words):
            MultiLabelDataset(classes=classes, **make)
    table.write_text('image,a,b,A\ni0,1,0,0\n')
    with pytest.raises(DataError, match="header: two classes have the same name, 'a' and 'A'"):
        MultiLabelDataset(**make)
    table.write_text(',image,a,b\n0,i0,1,0\n')
    with pytest.raises(DataError, match='index of row numbers'):
        MultiLabelDataset(**make)
    table.write_bytes('image,café,b\ni0,0,1\n'.encode('latin-1'))
    with pytest.raises(DataError, match='table.csv, line 1: .*UTF-8'):
        MultiLabelDataset(**make)


def test_names_keep_their_blanks(tmp_path):
    path = tmp_path / 'names.txt'
    for text, names in (
        ('a b\nc\n', ['a b', 'c']),
        ('"a, b",1,0\nc,0,1\n', ['a, b', 'c']),
        ('"a b"\n', ['a b']),
        ('a b 1 0\nc 0 1\n', ['a b', 'c']),
        ('patch_id\nx_1\n', ['x_1']),
        ('image,water\nx,1\n', ['x']),
        ('tile 7\n', ['tile 7']),
    ):
        path.write_text(text)
        assert read_names(str(path)) == names
    path.write_text('a b 1 0 1\nc 0 1 1\n')
    assert read_split_file(str(path), 3).names == ['a b', 'c']
    write_images(tmp_path / 'Images', ['a b', 'c'])
    dataset = MultiLabelDataset(data_root=str(tmp_path), ann_file='names.txt', classes=list('xyz'))
    assert dataset.names() == ['a b', 'c'] and dataset.labels()[1].tolist() == [0, 1, 1]
