import importlib.util
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from rs_mm.apis import ImageSearch
from rs_mm.apis.search.building import build_index
from rs_mm.apis.search.command import search as search_command
from rs_mm.datasets.fake.patternnet import make_patternnet
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.retrieval.fusion import WeiCom
from tests.weicom_toy import ARCH, PIPELINE

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'configs/demo/weicom_tiny_patterncom.py'
OPTIONS = {'model.arch': ARCH, 'test_dataloader.dataset.pipeline': PIPELINE}


@pytest.fixture
def archive(tmp_path):
    return make_patternnet(tmp_path / 'set', images_per_class=2, size=40) / 'images'


def engine(archive, **kwargs):
    return ImageSearch(archive, DEMO, index_dir=archive.parent / 'index', options=OPTIONS, **kwargs)


def test_search_by_image_text_and_both(archive):
    search = engine(archive)
    image = archive / 'airplane/airplane001.jpg'
    best = search(image, k=3)
    assert best[0].path == str(image) and best[0].score == pytest.approx(1)
    assert [hit.score for hit in best] == sorted((hit.score for hit in best), reverse=True)
    assert len(search(text='with boats', k=999)) == 28
    both = search(image, 'with boats', lam=0.3, k=28)
    keys, features = next(iter(search.index.scan()))
    scores = WeiCom(0.3)(
        torch.from_numpy(features) @ search._embed([image])[0],
        torch.from_numpy(features) @ search.model.encode_text(['with boats'])[0],
    )
    rows = [keys.index(hit.record.key) for hit in both]
    np.testing.assert_allclose([hit.score for hit in both], scores[rows], atol=1e-5)
    assert [hit.path for hit in search(image, 'with boats', lam=0, k=1)] == [str(image)]
    sheet = both.draw()
    assert sheet.dtype == np.uint8 and sheet.shape[0] > 900  # six rows of five


def test_lists_of_images_and_a_folder_of_results(archive, tmp_path):
    search = engine(archive)
    paths = [archive / f'{name}/{name}001.jpg' for name in ('airplane', 'river')]
    images = [
        paths[0],
        np.asarray(Image.open(paths[1])),
        Image.open(paths[0]),
        'river/river001.jpg',
    ]
    found = search(images, k=4)
    assert [results.paths[0] for results in found] == [str(paths[i]) for i in (0, 1, 0, 1)]
    np.testing.assert_allclose(found[0].scores, search(paths[0], k=4).scores, atol=1e-6)
    both = search(images[:2], 'with boats', k=3)
    np.testing.assert_allclose(
        both[1].scores, search(paths[1], 'with boats', k=3).scores, atol=1e-5
    )
    files = found[1].save(tmp_path / 'found')
    assert [file.name for file in files] == ['results.csv', 'results.png']
    assert np.asarray(Image.open(files[1])).shape == found[1].draw().shape
    (tmp_path / 'x.jpg').write_bytes(b'')
    with pytest.raises(DataError, match='x.jpg: the image cannot be decoded'):
        search([paths[0], tmp_path / 'x.jpg'])


def test_the_index_grows_with_the_folder(archive, monkeypatch):
    engine(archive)
    counts = []
    from rs_mm.models.composed_retriever import ComposedRetriever

    encode = ComposedRetriever.encode_image
    monkeypatch.setattr(
        ComposedRetriever,
        'encode_image',
        lambda self, images: counts.append(len(images)) or encode(self, images),
    )
    engine(archive)
    assert counts == []
    tifffile.imwrite(
        archive / 'new.tif',
        np.random.default_rng(0).integers(0, 9000, (30, 30, 4), np.uint16),
        photometric='minisblack',
        planarconfig='contig',
    )
    (archive / 'river/river001.jpg').unlink()
    search = engine(archive, bands=[3, 1, 0])
    # other bands are another preprocessing, so all is computed
    assert sum(counts) == 28
    counts.clear()
    Image.new('RGB', (20, 30), (200, 0, 0)).save(archive / 'red.webp')
    search = engine(archive, bands=[3, 1, 0])
    assert counts == [1]
    assert search(archive / 'red.webp', k=1)[0].path == str(archive / 'red.webp')
    assert search(archive / 'new.tif', k=1)[0].path == str(archive / 'new.tif')
    # there and back: each choice of bands keeps its own index
    counts.clear()
    engine(archive, bands=[3, 1, 0])
    assert counts == []


def test_bad_input(archive, tmp_path):
    search = engine(archive)
    with pytest.raises(ConfigError, match='give an image, a text, or both'):
        search()
    with pytest.raises(ConfigError, match=r'lies in \[0, 1\]; got -1'):
        search(text='x', lam=-1)
    with pytest.raises(ConfigError, match='k=0: ask for at least one image'):
        search(text='x', k=0)
    with pytest.raises(MissingFileError, match='no query image nowhere.jpg, neither as a file'):
        search('nowhere.jpg')
    (tmp_path / 'x.jpg').write_bytes(b'')
    with pytest.raises(DataError, match='x.jpg: the image cannot be decoded'):
        search(tmp_path / 'x.jpg')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty is an empty archive'):
        engine(tmp_path / 'empty')
    with pytest.raises(MissingFileError, match='no weights none.bin'):
        engine(archive, weights='none.bin')


def test_the_command(archive, tmp_path, search_tool):
    command = [
        sys.executable,
        str(ROOT / 'tools/retrieval/search.py'),
        '--archive',
        str(archive),
        '--config',
        str(DEMO),
        '--index-dir',
        str(tmp_path / 'index'),
        '-k',
        '3',
    ]
    run = dict(capture_output=True, text=True, cwd=ROOT, env={'PYTHONPATH': str(ROOT)})
    done = subprocess.run(
        [
            *command,
            '--image',
            str(archive / 'harbor/harbor001.jpg'),
            '--text',
            'with a red roof',
            '--lambda',
            '0',
            '--show-dir',
            str(tmp_path),
            '--out',
            str(tmp_path / 'x.csv'),
        ],
        **run,
    )
    assert done.returncode == 0, done.stderr
    assert '   1    ' in done.stdout and 'exact: 28 of 28 records compared' in done.stdout
    assert (tmp_path / 'search.png').exists()
    lines = (tmp_path / 'x.csv').read_text().splitlines()
    assert (
        lines[0] == 'rank,score,path,window,date,sensor,labels,change'
        and 'harbor001.jpg' in lines[1]
        and len(lines) == 4
    )
    args = parse(search_tool, ['--text', 'x', '--lambda', '3'])
    with pytest.raises(ConfigError, match=r'the text and lies in \[0, 1\]; got 3.0'):
        search_command(args)


@pytest.fixture(scope='module')
def search_tool():
    spec = importlib.util.spec_from_file_location('search_tool', ROOT / 'tools/retrieval/search.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(tool, arguments):
    with patch.object(sys, 'argv', ['search.py', *map(str, arguments)]):
        return tool.parse_args()


def test_options_are_checked_before_the_model_is_built(search_tool, tmp_path):
    for arguments, message in (
        (['--text', '   '], 'give an image, a text, or both'),
        (['--text', 'x', '--method', 'wiecom'], "no search method 'wiecom'; did you mean 'weicom'"),
        (['--text', 'x', '-k', '0'], 'k=0: ask for at least one'),
        (['--text', 'x', '--out', 'x.xlsx'], 'written as .csv, .geojson or .gpkg'),
        (['--text', 'x', '--map', 'x.png'], 'the map is an .html file'),
        (['--text', 'x', '--rerank', 'change', 'a', 'b'], 'give --image'),
        (['--text', 'x', '--where', 'north > a'], 'compared with a number, not a'),
        (['--image', 'none.jpg', '--archive', tmp_path], 'no query image none.jpg'),
        (['--text', 'x', '--archive', 'none'], '--archive none: there is no such folder'),
        (['--text', 'x', '--weights', 'none.pth'], 'no weights none.pth'),
        (['--queries', 'none.csv'], '--queries none.csv: there is no such table'),
    ):
        with pytest.raises((ConfigError, MissingFileError), match=message):
            search_tool.search(parse(search_tool, arguments))


def test_an_index_is_built_without_a_query(archive, tmp_path):
    built = build_index(str(tmp_path / 'i'), archive=archive, config=DEMO, options=OPTIONS)
    assert len(built) == 28
    with pytest.raises(ConfigError, match='give a folder of images'):
        build_index(str(tmp_path / 'j'))
