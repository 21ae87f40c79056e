"""Training tiles from a large pair: place, labels, splits, nodata."""

import csv

import numpy as np
import pytest

rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')

from affine import Affine  # noqa: E402

from rs_mm.converters.tile_pairs import (  # noqa: E402
    IGNORED,
    SPLITS,
    TileOptions,
    config_lines,
    split_blocks,
    tile_pairs,
)
from rs_mm.errors import ConfigError, DataError, MissingFileError  # noqa: E402
from rs_mm.rasters import read_pixels  # noqa: E402
from tests.rasters.files import UTM, smooth, write  # noqa: E402

RNG = np.random.default_rng(0)


def sources(tmp_path, height=320, width=448, bands=4, label=None, nodata=None):
    dates = [RNG.integers(1, 4000, (height, width, bands)).astype(np.uint16) for _ in range(2)]
    if nodata is not None:
        dates[0][:100, :100] = nodata
    paths = [
        write(tmp_path / f'{n}.tif', date, nodata=nodata, **UTM) for n, date in zip('ab', dates)
    ]
    if label is None:
        label = (RNG.random((height, width)) < 0.2).astype(np.uint8) * 255
    return [*paths, write(tmp_path / 'label.tif', label, **UTM)], dates, label


def read(path):
    return read_pixels(path, stored=True).array


@pytest.mark.parametrize('gap', [0, 40])
def test_tiles_lie_where_they_were(tmp_path, gap):
    paths, dates, label = sources(tmp_path, 576, 576)
    options = TileOptions(tile=64, stride=64, block=192, gap=gap)
    report = tile_pairs(*paths, tmp_path / 'out', options)
    rows = list(csv.DictReader((tmp_path / 'out/tiles.csv').open(newline='')))
    assert len(rows) == sum(report.tiles.values()) and set(report.tiles) == set(SPLITS)
    assert gap or len(rows) == 9 * 9
    for row in rows:
        y, x = int(row['row']), int(row['column'])
        files = [tmp_path / 'out' / row['split'] / f / f'{row["name"]}.tif' for f in ('A', 'B')]
        for path, date in zip(files, dates):
            np.testing.assert_array_equal(read(path), date[y : y + 64, x : x + 64])
            with rasterio.open(path) as file:
                assert file.transform == UTM['transform'] @ Affine.translation(x, y)
                assert file.crs.to_epsg() == 32650 and file.colorinterp[3].name != 'alpha'
        found = read(tmp_path / 'out' / row['split'] / 'label' / f'{row["name"]}.tif')[..., 0]
        np.testing.assert_array_equal(found, label[y : y + 64, x : x + 64] // 255)
    boxes = [(r['split'], int(r['row']), int(r['column'])) for r in rows]
    for split, y, x in boxes:
        for other, v, u in boxes:
            if other != split:
                assert max(abs(y - v), abs(x - u)) >= 64 + gap
    assert report.pixels[1] == sum(
        (label[int(r['row']) :][:64, int(r['column']) :][:, :64] == 255).sum() for r in rows
    )


def test_nodata_leaves_the_label(tmp_path):
    paths, dates, _ = sources(tmp_path, nodata=0)
    report = tile_pairs(*paths, tmp_path / 'out', TileOptions(64, 64, (1, 0, 0), min_valid=0.3))
    assert report.tiles == {'train': 5 * 7 - 1} and sum(report.left_out.values()) == 1
    partial = tmp_path / 'out/train/{}/000064_000064.tif'
    label = read(str(partial).format('label'))[..., 0]
    assert (label[:36, :36] == IGNORED).all() and set(np.unique(label[40:])) == {0, 1}
    valid = read_pixels(str(partial).format('A')).valid
    np.testing.assert_array_equal(valid, label != IGNORED)
    assert read_pixels(str(partial).format('B')).valid.all()


def test_masks_where_no_nodata_is_declared(tmp_path):
    """Ground that date 2 does not reach, after resampling."""
    paths, _, _ = sources(tmp_path)
    write(
        tmp_path / 'b.tif',
        smooth(320, 448, 4).astype(np.uint16),
        crs=UTM['crs'],
        transform=UTM['transform'] @ Affine.translation(30.5, 0),
    )
    options = TileOptions(64, 64, (1, 0, 0), align='resample')
    tile_pairs(*paths, tmp_path / 'out', options)
    found = read_pixels(tmp_path / 'out/train/B/000000_000000.tif')
    assert not found.valid[:, :30].any() and found.valid[:, 31:].all()
    label = read(tmp_path / 'out/train/label/000000_000000.tif')[..., 0]
    np.testing.assert_array_equal(label == IGNORED, ~found.valid)


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson'])
def test_polygons_as_labels(tmp_path, suffix):
    geopandas = pytest.importorskip('geopandas')
    import shapely

    paths, _, _ = sources(tmp_path)
    boxes = [(60, 50, 140, 100), (200, 200, 260, 300)]
    shapes = [
        shapely.box(*(UTM['transform'] @ (x0, y1)), *(UTM['transform'] @ (x1, y0)))
        for x0, y0, x1, y1 in boxes
    ]
    table = geopandas.GeoDataFrame(dict(kind=[2, 1]), geometry=shapes, crs=UTM['crs'])
    table.to_crs(4326).to_file(tmp_path / f'p{suffix}')
    label = np.zeros((320, 448), np.uint8)
    for (x0, y0, x1, y1), kind in zip(boxes, (2, 1)):
        label[y0:y1, x0:x1] = kind
    for name, wanted in ((None, (label > 0).astype(np.uint8)), ('kind', label)):
        out = tmp_path / f'out_{name}'
        options = TileOptions(64, 64, (1, 0, 0), class_field=name)
        tile_pairs(*paths[:2], tmp_path / f'p{suffix}', out, options)
        found = np.zeros_like(label)
        for path in (out / 'train/label').iterdir():
            y, x = map(int, path.stem.split('_'))
            found[y : y + 64, x : x + 64] = read(path)[..., 0]
        assert (found[:320, :448] != wanted).mean() < 1e-3
    with pytest.raises(ConfigError, match="no attribute 'typ'; it has"):
        options = TileOptions(class_field='typ')
        tile_pairs(*paths[:2], tmp_path / f'p{suffix}', tmp_path / 'o', options)


def test_the_tiles_train(tmp_path):
    """The printed lines make a dataset whose nodata is ignored."""
    from rs_mm.registry import DATASETS

    paths, _, _ = sources(tmp_path, nodata=0)
    report = tile_pairs(*paths, tmp_path / 'out', TileOptions(64, 64, (1, 0, 0), min_valid=0.3))
    given = {}
    exec(config_lines(report, tmp_path / 'out'), given)
    part = given['train_dataloader']['dataset'] | dict(
        pipeline=[
            given['load'],
            dict(type='MultiImgLoadAnnotations'),
            dict(type='MultiImgPackSegInputs'),
        ]
    )
    dataset = DATASETS.build(dict(part, type='rs_mm.ChangeDetectionDataset'))
    assert len(dataset) == 34
    names = [dataset.get_data_info(i)['pair_name'] for i in range(34)]
    sample = dataset[names.index('000064_000064')]
    assert sample['inputs'].shape == (8, 64, 64)
    label = sample['data_samples'].gt_sem_seg.data[0].numpy()
    assert (label[:36, :36] == IGNORED).all() and set(np.unique(label[40:])) == {0, 1}


def test_split_blocks():
    """Shares are kept, and blocks of one split lie together."""
    options = TileOptions(block=1000, shares=(0.6, 0.2, 0.2))
    found = split_blocks((10_000, 10_000), options)
    assert np.bincount(found.ravel()).tolist() == [60, 20, 20]
    borders = (found[1:] != found[:-1]).sum() + (found[:, 1:] != found[:, :-1]).sum()
    assert borders < 60
    assert (found != split_blocks((10_000, 10_000), TileOptions(block=1000, seed=5))).any()


def test_what_is_refused(tmp_path):
    paths, _, _ = sources(tmp_path, label=np.full((320, 448), 300, np.uint16))
    with pytest.raises(DataError, match='holds the values 300 to 300'):
        tile_pairs(*paths, tmp_path / 'o1', TileOptions(64, 64, block=100))
    with pytest.raises(MissingFileError, match='nothing.gpkg'):
        tile_pairs(*paths[:2], tmp_path / 'nothing.gpkg', tmp_path / 'o2')
    with pytest.raises(ConfigError, match='block'):
        TileOptions(tile=256, block=128)
    with pytest.raises(ConfigError, match='too few for 3 splits'):
        tile_pairs(*paths, tmp_path / 'o5', TileOptions(block=1000))
    (tmp_path / 'o3/val').mkdir(parents=True)
    with pytest.raises(ConfigError, match='holds tiles already'):
        tile_pairs(*paths, tmp_path / 'o3')
    write(tmp_path / 'label.tif', np.full((320, 448), 255, np.uint8), nodata=255, **UTM)
    with pytest.raises(DataError, match='no tile is left'):
        tile_pairs(*paths, tmp_path / 'o4', TileOptions(64, 64, block=100))
