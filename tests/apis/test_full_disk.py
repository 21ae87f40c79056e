"""A disk that is really full: a small file system in memory, mounted for the test."""

import subprocess

import numpy as np
import pytest

rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')
geopandas = pytest.importorskip('geopandas', reason='the extra geo is not installed')

from rs_mm.apis.change import files  # noqa: E402
from rs_mm.apis.change.files import predict_files  # noqa: E402
from rs_mm.apis.change.outputs import OutputOptions  # noqa: E402
from rs_mm.errors import DataError  # noqa: E402

from .test_change_files import detector, pair  # noqa: E402

OPTIONS = OutputOptions('float32', '.gpkg')


def mount(folder, kilobytes, *more):
    command = ['mount', '-t', 'tmpfs', '-o', ','.join([*more, f'size={kilobytes}k']), 'tmpfs']
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'a file system cannot be mounted here: {done.stderr.strip()}')


@pytest.fixture
def disk(tmp_path):
    """A function that sets the size of the disk below a folder."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount(folder, 64)
    yield folder, lambda kilobytes: mount(folder, kilobytes, 'remount')
    subprocess.run(['umount', str(folder)], check=True)


def visible(folder):
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in found if not path.name.startswith('.'))


@pytest.mark.parametrize('options', [OPTIONS, OutputOptions('uint8', '.geojson', cog=True)])
def test_a_full_disk_is_one_sentence(tmp_path, disk, monkeypatch, options):
    """At whatever point it is full; what is finished is kept, and goes on when there is room."""
    folder, resize = disk
    # another program takes the room after it was found sufficient
    monkeypatch.setattr(files, 'check_free_space', lambda *args: None)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (200, 260, 3), np.uint8) for _ in range(2)]
    paths, found = pair(tmp_path, images), detector(tile=96, overlap=32)
    wanted = predict_files(found, *paths, tmp_path / 'whole', options=options)
    refused = set()
    for kilobytes in (4, 40, 160, 320, 480, 560, 640, 720, 800, 900, 1000, 8000):
        resize(kilobytes)
        try:
            result = predict_files(found, *paths, folder / 'out', options=options, resume=True)
            break
        except DataError as error:
            text = str(error)
            assert 'the disk is full' in text and '\n' not in text, text
            refused.add(text.split(' cannot be written')[0].rpartition('/')[2].split('_0')[0])
        for name in visible(folder / 'out'):  # a finished file may be there, and is whole
            if name.endswith('.tif'):
                assert rasterio.open(folder / 'out' / name).read(1).shape == (200, 260)
            elif not name.endswith('.png'):
                assert len(geopandas.read_file(folder / 'out' / name)) == wanted.summary.patches
    assert {'tile', 'mask'} <= refused and len(refused) > 3, refused
    names = [path.name for path in wanted.written]
    assert sorted(names) == visible(folder / 'out') == sorted(p.name for p in result.written)
    for name in names[:2]:
        np.testing.assert_array_equal(
            rasterio.open(folder / 'out' / name).read(1),
            rasterio.open(tmp_path / 'whole' / name).read(1),
        )
