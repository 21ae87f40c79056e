"""tools/predict_labels.py and tools/choose_thresholds.py."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_mm.apis import LabelPredictor
from rs_mm.apis.labels.thresholds import predict_split
from rs_mm.evaluation.label_thresholds import best_threshold, best_thresholds
from rs_mm.evaluation.multilabel_scores import class_scores, f1_scores
from tools import choose_thresholds, predict_labels

from .test_grn_runs import CONFIG, options
from .test_label_predictor import checkpoint, dataset, paths_of, root  # noqa: F401


def run(tool, monkeypatch, root, *given):  # noqa: F811
    """Runs a tool in this process; returns its exit status."""
    sets = [f'{key}={value}' for key, value in options(str(root)).items()]
    sets = [text.replace(' ', '') for text in sets]
    command = [tool.__name__, str(CONFIG), *map(str, given), '--cfg-options', *sets]
    monkeypatch.setattr('sys.argv', command)
    try:
        tool.main()
    except SystemExit as left:
        return left.code
    return 0


def rows_of(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_best_thresholds():
    rng = torch.Generator().manual_seed(0)
    probability = torch.rand(60, 3, generator=rng)
    true = (torch.rand(60, 3, generator=rng) < probability).long()
    true[:, 2] = 0
    values = best_thresholds(probability, true)
    assert values[2] == 0.5
    own = class_scores(probability >= values, true)['f1'][:2]
    for other in torch.linspace(0, 1, 101):
        assert (class_scores(probability >= other, true)['f1'][:2] <= own + 1e-9).all()
    best = f1_scores(probability >= best_threshold(probability, true), true)['sample']
    for other in torch.linspace(0, 1, 101):
        assert f1_scores(probability >= other, true)['sample'] <= best + 0.01
    tied = torch.tensor([[0.4], [0.4], [0.1]])
    assert 0.1 < best_thresholds(tied, torch.tensor([[1], [0], [0]]))[0] <= 0.4


def test_images_of_a_folder(root, dataset, checkpoint, tmp_path, monkeypatch, capsys):  # noqa: F811
    folder = tmp_path / 'images'
    (folder / 'sub').mkdir(parents=True)
    for i, path in enumerate(paths_of(dataset)[:5]):
        shutil.copy(path, folder / f'{i}.png')
    shutil.copy(paths_of(dataset)[5], folder / 'sub/UP.PNG')
    (folder / 'bad.png').write_bytes(b'x')
    out, show = tmp_path / 'tags.csv', tmp_path / 'show'
    status = run(predict_labels, monkeypatch, root, checkpoint, folder, '--out', out,
                 '--show-dir', show, '--threshold', 'kind 0=0', 'kind 1=1')  # fmt: skip
    assert status == 1 and '6 of 7 files' in capsys.readouterr().out
    rows = {Path(row['path']).name: row for row in rows_of(out)}
    assert len(rows) == 7 and 'bad.png' in rows['bad.png']['reason']
    assert rows['UP.PNG']['labels'].split(';')[0] == 'kind 0'
    assert 'kind 1' not in rows['UP.PNG']['labels'].split(';')
    assert 0 < float(rows['0.png']['kind 5']) < 1 and rows['0.png']['window'] == ''
    assert {path.stem for path in show.iterdir()} == {f'kind {i}' for i in range(8)}


def test_thresholds_are_chosen_and_kept(root, checkpoint, tmp_path, monkeypatch, capsys):  # noqa: F811
    out = tmp_path / 'better.pth'
    assert run(choose_thresholds, monkeypatch, root, checkpoint, '--out', out, '--per-class') == 0
    printed = capsys.readouterr().out
    assert f'The thresholds are in {out}' in printed
    predictor = LabelPredictor(CONFIG, out, options=options(str(root)))
    probability, label, true = predict_split(predictor, CONFIG, 'val', options(str(root)))
    np.testing.assert_allclose(predictor.thresholds, best_thresholds(probability, true))
    assert f'-> {f1_scores(label, true)["sample"]:.4f}' in printed
    # the other way of predicting has its own
    by_knn = LabelPredictor(CONFIG, out, options=options(str(root)), method='knn')
    assert by_knn.thresholds is None


def test_tiles_of_scenes(root, checkpoint, tmp_path, monkeypatch):  # noqa: F811
    rasterio, geopandas = pytest.importorskip('rasterio'), pytest.importorskip('geopandas')
    profile = dict(driver='GTiff', width=64, height=40, count=3, dtype='uint8', crs='EPSG:32650')
    place = rasterio.transform.from_origin(5e5, 4e6, 2, 2)
    with rasterio.open(tmp_path / 's.tif', 'w', transform=place, **profile) as file:
        file.write(np.random.default_rng(0).integers(0, 256, (3, 40, 64), dtype=np.uint8))
    out, tiles = tmp_path / 'tags.csv', tmp_path / 'tiles.geojson'
    given = (checkpoint, tmp_path / 's.tif', '--out', out, '--tile', '64m', '--tiles', tiles)
    more = ('--rasters', tmp_path / 'maps', '--show-dir', tmp_path / 'show')
    assert run(predict_labels, monkeypatch, root, *given, *more) == 0
    assert [row['window'] for row in rows_of(out)] == ['0 0 32 32', '0 32 32 32', '8 0 32 32',
                                                       '8 32 32 32']  # fmt: skip
    table = geopandas.read_file(tiles)
    assert len(table) == 4 and table['kind 3'].between(0, 1).all()
    assert len(list((tmp_path / 'maps').glob('*.tif'))) == 8
    assert (tmp_path / 'show/s.png').is_file() and (tmp_path / 'show/kind 0.png').is_file()


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['x.png', '--out', 'o.csv'], 'no image or folder x.png'),
        ([__file__, '--out', 'o.txt'], 'the name must end in .csv'),
        ([__file__, '--out', 'o.csv', '--stride', '4'], 'for scenes that --tile cuts'),
        ([__file__, '--out', 'o.csv', '--threshold', 'a', 'b=2'], 'give one number, or CLASS='),
        ([__file__, '--out', 'o.csv', '--tile', 'big'], "tile 'big': write pixels"),
    ],
)
def test_a_wrong_command_is_one_sentence(monkeypatch, capsys, tmp_path, given, message):
    assert run(predict_labels, monkeypatch, tmp_path, __file__, *given) == 2
    assert message in capsys.readouterr().err
