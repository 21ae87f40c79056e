"""An index follows its archive; content that is known is not computed again."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from rs_mm.apis import ImageSearch
from rs_mm.datasets.archive_metadata import file_metadata, read_metadata_table
from rs_mm.datasets.fake.patternnet import make_patternnet
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.models.composed_retriever import ComposedRetriever
from rs_mm.retrieval.basic import BASIC
from rs_mm.retrieval.index import make_filter, open_index
from tests.retrieval.index.conftest import needs, uri
from tests.weicom_toy import ARCH, PIPELINE

DEMO = 'configs/demo/weicom_tiny_patterncom.py'
OPTIONS = {'model.arch': ARCH, 'test_dataloader.dataset.pipeline': PIPELINE}


@pytest.fixture
def archive(tmp_path):
    return make_patternnet(tmp_path / 'set', images_per_class=2, size=40) / 'images'


@pytest.fixture
def encoded(monkeypatch):
    """Sizes of the batches that went through the model."""
    sizes, encode = [], ComposedRetriever.encode_image

    def counted(self, images):
        sizes.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(ComposedRetriever, 'encode_image', counted)
    return sizes


def search(archive, tmp_path, kind='exact', **kwargs):
    return ImageSearch(archive, DEMO, options=OPTIONS, index=uri(kind, tmp_path), **kwargs)


@pytest.mark.parametrize('kind', ['exact', 'lance', 'milvus'])
def test_only_new_content_is_computed(archive, tmp_path, encoded, kind):
    needs(kind)
    first = search(archive, tmp_path, kind)
    assert first.update.added == 28 and sum(encoded) == 28
    encoded.clear()
    assert search(archive, tmp_path, kind).update.kept == 28 and not encoded
    # moved, copied, touched, changed, removed, damaged
    (archive / 'new').mkdir()
    shutil.move(archive / 'river/river001.jpg', archive / 'new/moved.jpg')
    shutil.copy(archive / 'river/river002.jpg', archive / 'new/copy.jpg')
    os.utime(archive / 'harbor/harbor001.jpg', (1, 1))
    Image.new('RGB', (30, 30), (200, 0, 0)).save(archive / 'harbor/harbor002.jpg')
    (archive / 'bridge/bridge001.jpg').unlink()
    (archive / 'bridge/bridge002.jpg').write_bytes(b'damaged')
    vector = first.index.fetch(['river/river001.jpg'])
    again = search(archive, tmp_path, kind)
    update = again.update
    assert (update.added, update.moved, update.removed) == (1, 3, 3) and sum(encoded) == 1
    assert 'bridge002.jpg' in str(update.unreadable)
    np.testing.assert_array_equal(again.index.fetch(['new/moved.jpg']), vector)
    assert len(again) == 27 == again.index.moments().count
    assert again(archive / 'harbor/harbor002.jpg', k=1)[0].path.endswith('harbor002.jpg')
    np.testing.assert_allclose(
        again.index.moments().total,
        sum(block.astype(np.float64).sum(0) for _, block in again.index.scan()),
        atol=1e-9,
    )


def test_an_interrupted_build_goes_on(archive, tmp_path, encoded, monkeypatch):
    from rs_mm.engine import index_update
    from rs_mm.retrieval.index import ExactIndex

    add, calls = ExactIndex.add, []

    def failing(self, records, vectors):
        calls.append(len(records))
        if len(calls) == 2:
            raise KeyboardInterrupt
        add(self, records, vectors)

    monkeypatch.setattr(index_update.update_index, '__defaults__', (None, '', 8))
    small = {**OPTIONS, 'test_dataloader.batch_size': 4}
    with monkeypatch.context() as patch:
        patch.setattr(ExactIndex, 'add', failing)
        with pytest.raises(KeyboardInterrupt):
            ImageSearch(archive, DEMO, options=small, index=uri('exact', tmp_path))
    assert len(open_index(uri('exact', tmp_path))) == 8
    encoded.clear()
    assert (
        ImageSearch(archive, DEMO, options=small, index=uri('exact', tmp_path)).update.added == 20
    )
    assert sum(encoded) == 20


def test_a_slow_build_is_stored_now_and_then(archive, tmp_path, monkeypatch):
    from rs_mm.engine import feature_extraction
    from rs_mm.retrieval.index import ExactIndex

    add, sizes = ExactIndex.add, []
    monkeypatch.setattr(feature_extraction, 'KEEP_EVERY', 0)
    monkeypatch.setattr(
        ExactIndex, 'add', lambda self, *rows: sizes.append(len(rows[0])) or add(self, *rows)
    )
    options = {**OPTIONS, 'test_dataloader.batch_size': 10}
    ImageSearch(archive, DEMO, options=options, index=uri('exact', tmp_path))
    assert sizes == [10, 10, 8]


def test_metadata_come_from_files_and_a_table(archive, tmp_path, encoded):
    rasterio = pytest.importorskip('rasterio', reason='needs the extra geo')
    from rasterio.transform import from_origin

    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 40), np.uint8)
    with rasterio.open(
        archive / 'field.tif', 'w', driver='GTiff', width=40, height=40, count=3, dtype='uint8',
        crs='EPSG:32633', transform=from_origin(500_000, 5_500_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(pixels)
        file.update_tags(TIFFTAG_DATETIME='2021:07:05 10:20:30')
    table = tmp_path / 'meta.csv'
    table.write_text(
        'name,sensor,labels,date\nriver001.jpg,S2,water; trees,2020-03\n'
        'bridge/bridge001.jpg,S1,water,\nfield.tif,S2,,\n'
    )
    engine = search(archive, tmp_path, metadata=table)
    (record,) = engine.index.records(['field.tif'])
    assert record.date == '2021-07-05T10:20:30' and record.sensor == 'S2'
    assert record.west == pytest.approx(15, abs=1e-6) and record.north == pytest.approx(49.65, 1e-3)
    assert record.digest and record.size > 0
    found = engine(text='x', k=9, where=make_filter(labels=['water']))
    assert {hit.record.name for hit in found} == {'river/river001.jpg', 'bridge/bridge001.jpg'}
    found = engine(text='x', where=make_filter(bbox=(14, 49, 16, 50), after='2021-07-05'))
    assert [hit.record.name for hit in found] == ['field.tif']
    assert found.geojson()['features'][0]['geometry']['coordinates'][0][0] == pytest.approx(
        [record.west, record.south]
    )
    # another table: nothing goes through the model
    encoded.clear()
    table.write_text('name,labels\nriver001.jpg,sand\n')
    engine = search(archive, tmp_path, metadata=table)
    assert engine.index.count(make_filter(labels=['sand'])) == 1 and not encoded
    with pytest.raises(DataError, match='no record of .* meets the filter; of 29 records'):
        engine(text='x', where=make_filter(labels=['snow']))


def test_bad_tables_are_told(tmp_path):
    path = tmp_path / 'x.csv'
    for content, message in (
        ('path,date\n', 'an unknown column "path"'),
        ('date\n', 'the header has no "name"'),
        ('name,date\na,June\n', 'line 2: the date "June" is not written as'),
        ('name,west\na,3\n', 'line 2: a footprint has west, south, east and north'),
        ('name,date\na\n', 'line 2: expected 2 cells'),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_metadata_table(path)
    with pytest.raises(MissingFileError, match='no metadata table'):
        read_metadata_table(tmp_path / 'none.csv')
    (tmp_path / 'x.tif').write_bytes(b'no picture')
    assert file_metadata(tmp_path / 'x.tif') == {}


def test_an_index_is_asked_without_its_archive(archive, tmp_path):
    search(archive, tmp_path)
    alone = ImageSearch(None, DEMO, options=OPTIONS, index=uri('exact', tmp_path))
    assert alone.update is None and len(alone) == 28
    assert alone('river/river001.jpg', k=1)[0].record.name == 'river/river001.jpg'
    other = {**OPTIONS, 'randomness.seed': 5}
    with pytest.raises(ConfigError, match='another weights built this index'):
        ImageSearch(None, DEMO, options=other, index=uri('exact', tmp_path))
    with pytest.raises(
        ConfigError, match='a folder of images .* an index .* or extracted features'
    ):
        ImageSearch(None, DEMO, options=OPTIONS)


def test_methods_and_terms(archive, tmp_path):
    engine = search(archive, tmp_path)
    image = archive / 'river/river001.jpg'
    answers = {
        method: [hit.path for hit in engine(image, 'oval', k=28, method=method)]
        for method in ('weicom', 'basic', 'sum', 'average', 'product', 'minimum')
    }
    assert answers['sum'] == answers['average'] and answers['basic'] != answers['weicom']
    assert all(len(set(paths)) == 28 for paths in answers.values())
    plain = [hit.score for hit in engine(text='oval', k=5)]
    weighted = [hit.score for hit in engine(text='oval but without water', k=5, terms=['sand=0.3'])]
    assert plain != weighted
    # what a method has learnt of the archive belongs to its options
    whole, part = (
        [hit.score for hit in engine(image, 'oval', k=5, method=BASIC(project=project))]
        for project in (True, False)
    )
    assert whole == [hit.score for hit in engine(image, 'oval', k=5, method='basic')] != part
    pixels = np.array(Image.open(image))
    assert engine(pixels, k=1)[0].path == str(image) == engine(Image.open(image), k=1)[0].path
    with pytest.raises(ConfigError, match="no search method 'basics'; did you mean 'basic'"):
        engine(image, 'oval', method='basics')


def test_a_tile_of_a_scene_finds_its_window(tmp_path):
    rasterio = pytest.importorskip('rasterio', reason='needs the extra geo')
    from rasterio.transform import from_origin

    folder = tmp_path / 'scenes'
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 128, 192), np.uint8)
    pixels = np.sort(pixels, axis=2)  # tiles differ from left to right
    with rasterio.open(
        folder / 'scene.tif', 'w', driver='GTiff', width=192, height=128, count=3, dtype='uint8',
        crs='EPSG:32633', transform=from_origin(500_000, 5_500_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(pixels)
    Image.fromarray(pixels[:, 64:128, 128:].transpose(1, 2, 0)).save(tmp_path / 'part.png')
    engine = search(folder, tmp_path, tile=64)
    assert len(engine) == 6
    (hit,) = engine(tmp_path / 'part.png', k=1)
    assert hit.record.window == (128, 64, 64, 64) and hit.score == pytest.approx(1, abs=1e-5)
    assert hit.record.west == pytest.approx(15 + 1280 / 71_700, abs=2e-3)
    np.testing.assert_array_equal(engine.picture(hit.record), Image.open(tmp_path / 'part.png'))
    # what was moved keeps its windows
    (folder / 'scene.tif').rename(folder / 'other.tif')
    again = search(folder, tmp_path, tile=64)
    assert (again.update.moved, again.update.removed, again.update.added) == (6, 6, 0)
    # another cut of the same scene
    finer = search(folder, tmp_path, tile=96)
    assert (finer.update.added, finer.update.removed, len(finer)) == (4, 6, 4)


def test_labels_by_class_names(archive, tmp_path):
    import csv

    import torch

    from rs_mm.apis.search.zero_shot import zero_shot_labels

    engine = search(archive, tmp_path)
    classes = ['river', 'harbor', 'runway']
    assert zero_shot_labels(engine, classes, tmp_path / 'x.csv', ['{}', 'a {}']) == 28
    with open(tmp_path / 'x.csv') as file:
        row = list(csv.DictReader(file))[5]
    key = row['path'].removeprefix(f'{archive}/')
    image = torch.from_numpy(engine.index.fetch([key])[0])
    text = [engine.model.encode_text([name, f'a {name}']).mean(0) for name in classes]
    text = torch.nn.functional.normalize(torch.stack(text), dim=1)
    expected = (engine.model.clip.logit_scale.exp() * (text @ image)).softmax(0)
    np.testing.assert_allclose([float(row[c]) for c in classes], expected.detach(), atol=2e-6)
    assert row['labels'] == classes[int(expected.argmax())]
    with pytest.raises(ConfigError, match='two class names or more'):
        zero_shot_labels(engine, ['river'], tmp_path / 'x.csv')
