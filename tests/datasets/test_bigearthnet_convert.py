import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest
import tifffile

from rs_mm.datasets import BigEarthNetDataset
from rs_mm.datasets.bigearthnet import convert as conversion
from rs_mm.datasets.bigearthnet import labels
from rs_mm.datasets.bigearthnet.bands import GROUPS, SIZES
from rs_mm.datasets.bigearthnet.convert import convert
from rs_mm.datasets.bigearthnet.folders import open_source, read_bands
from rs_mm.datasets.bigearthnet.store import PatchReader, PatchWriter, close_reader
from rs_mm.datasets.fake.bigearthnet import make_bigearthnet_v1, make_bigearthnet_v2
from rs_mm.errors import DataError, MissingFileError

from .test_bigearthnet import pipeline, recorded_patch


def test_conversion_of_an_original_database(tmp_path):
    record, expected = recorded_patch()
    names = ['S2A_MSIL2A_20170717T113321_28_88', 'S2A_MSIL2A_20170717T113321_28_89']
    with lmdb.open(str(tmp_path / 'old'), map_size=1 << 24) as env, env.begin(write=True) as txn:
        txn.put(names[0].encode(), expected['lmdb_value'].tobytes())
        txn.put(names[1].encode(), b'\0' * 40)
        for key in ('keys', 'len'):
            txn.put(f'__{key}__'.encode(), expected[f'lmdb_{key}'].tobytes())
    with pytest.raises(DataError, match='has the layout of the original OML code; convert it'):
        PatchReader(tmp_path / 'old').names()
    close_reader(tmp_path / 'old')
    manifest = convert(open_source(tmp_path / 'old'), str(tmp_path / 'new'), workers=2, verify=True)
    assert manifest['source_layout'] == 'lmdb' and manifest['patches'] == 1
    assert [name for name, _ in manifest['problems']] == names[1:]
    read = PatchReader(tmp_path / 'new').read(names[0])
    assert all(np.array_equal(read[key], record[key]) for key in record)


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_fake_tree_converts_and_reads_back_bit_for_bit(tmp_path, version):
    make = dict(v1=make_bigearthnet_v1, v2=make_bigearthnet_v2)[version]
    names = make(tmp_path / 'tree', 6)
    source = open_source(tmp_path / 'tree')
    assert source.layout == version and source.names() == sorted(names)
    manifest = convert(source, str(tmp_path / 'lmdb'), workers=2, verify=True)
    assert manifest['patches'] == 6 and not manifest['problems'] and manifest['verified']
    assert json.loads((tmp_path / 'lmdb/manifest.json').read_text())['bands']['b60'] == [
        'B01',
        'B09',
    ]
    reader = PatchReader(tmp_path / 'lmdb')
    for name in names:
        folder = next((tmp_path / 'tree').rglob(f'{name}'))
        record = reader.read(name, check=True)
        for group, bands in GROUPS.items():
            for band, stored in zip(bands, record[group]):
                assert np.array_equal(stored, tifffile.imread(folder / f'{name}_{band}.tif'))
    dataset = BigEarthNetDataset(str(tmp_path / 'lmdb'), pipeline=pipeline('12'))
    assert dataset[0]['inputs'].shape == (12, 120, 120) and dataset.labels().shape == (6, 19)
    if version == 'v2':
        assert manifest['splits']['train']['patches'] == 4
        with pytest.raises(DataError, match='published with 19; set num_classes=19'):
            BigEarthNetDataset(str(tmp_path / 'lmdb'), num_classes=43, pipeline=pipeline('rgb'))[0]


def test_real_v1_patch(samples, tmp_path):
    source = open_source(samples / 'bigearthnet_v1')
    manifest = convert(source, str(tmp_path), workers=0, verify=True)
    (name,) = source.names()
    assert manifest['patches'] == 1 and not manifest['problems']
    check_pixels(PatchReader(tmp_path), name, samples / 'bigearthnet_v1' / name)
    dataset = BigEarthNetDataset(str(tmp_path), num_classes=43, pipeline=pipeline('10'))
    hot = np.flatnonzero(dataset.labels()[0])
    assert [dataset.metainfo['classes'][i] for i in hot] == [
        'Non-irrigated arable land',
        'Pastures',
    ]
    hot = np.flatnonzero(BigEarthNetDataset(str(tmp_path)).labels()[0])
    assert [labels.NOMENCLATURES[19][i] for i in hot] == ['Arable land', 'Pastures']


def test_real_v2_patch(samples, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = next((samples / 'bigearthnet_v2/BigEarthNet-S2').glob('*/*'))
    table = dict(
        patch_id=[folder.name], labels=[['Arable land', 'Inland waters']], split=['validation']
    )
    pq.write_table(pa.table(table), tmp_path / 'metadata.parquet')
    source = open_source(samples / 'bigearthnet_v2', metadata=[tmp_path / 'metadata.parquet'])
    manifest = convert(source, str(tmp_path / 'lmdb'), workers=0, verify=True)
    assert not manifest['problems'] and manifest['splits']['val']['patches'] == 1
    check_pixels(PatchReader(tmp_path / 'lmdb'), folder.name, folder)


def test_patches_excluded_later_are_deleted(tmp_path):
    names = make_bigearthnet_v1(tmp_path / 'tree', 6)
    source, out = open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb')
    convert(source, out, workers=0)
    later = convert(source, out, exclude=[*names[:2], 'other'], workers=0)
    assert (later['patches'], later['excluded']) == (4, 2)
    assert BigEarthNetDataset(out).names() == sorted(names[2:])
    once = convert(source, str(tmp_path / 'once'), exclude=names[:2], workers=0)
    assert later == once


def check_pixels(reader, name, folder):
    record = reader.read(name, check=True)
    for group, bands in GROUPS.items():
        for band, stored in zip(bands, record[group]):
            assert stored.dtype == np.uint16
            assert np.array_equal(stored, tifffile.imread(folder / f'{name}_{band}.tif'))


def test_faulty_patches_are_listed_and_the_rest_goes_on(tmp_path):
    names = make_bigearthnet_v1(tmp_path / 'tree', 7)
    folders = [tmp_path / 'tree' / name for name in names]
    band = folders[0] / f'{names[0]}_B05.tif'
    band.write_bytes(band.read_bytes()[:-100])
    (folders[1] / f'{names[1]}_B12.tif').unlink()
    (folders[2] / f'{names[2]}_labels_metadata.json').write_text('{"labels": ["Moon"]}')
    (folders[3] / f'{names[3]}_labels_metadata.json').unlink()
    tifffile.imwrite(folders[4] / f'{names[4]}_B01.tif', np.zeros((21, 20), np.uint16))
    shutil.rmtree(folders[5])
    lists = dict(train=names[:4], val=names[4:])
    manifest = convert(
        open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb'), lists, workers=2, exclude=['other']
    )
    problems = dict(map(tuple, manifest['problems']))
    for name, message in zip(
        names,
        (
            'B05.tif: the TIFF cannot be decoded',
            'missing band .*B12.tif',
            "unknown label 'Moon'",
            'missing labels',
            'expected one band of 20 x 20 uint16',
            'no folder',
        ),
    ):
        assert re.search(message, problems.pop(name))
    assert not problems and manifest['patches'] == 1
    assert (tmp_path / 'lmdb/splits/train.csv').read_text() == ''
    assert (tmp_path / 'lmdb/splits/val.csv').read_text() == f'{names[6]}\n'
    # repaired data is taken on the next run
    shutil.rmtree(tmp_path / 'tree')
    make_bigearthnet_v1(tmp_path / 'tree', 7)
    manifest = convert(
        open_source(tmp_path / 'tree'),
        str(tmp_path / 'lmdb'),
        lists,
        workers=0,
        exclude=[names[0]],
        verify=True,
    )
    assert manifest['patches'] == 6 and not manifest['problems'] and manifest['excluded'] == 1
    assert manifest['splits']['train']['patches'] == 3


class SlowSource:
    """A source that takes its time and notes who read what."""

    layout = 'v1'

    def __init__(self, source, log):
        self.source, self.log = source, log

    def names(self):
        return self.source.names()

    def splits(self):
        return {}

    def read(self, name):
        (self.log / f'{os.getpid()}.{name}').touch()
        time.sleep(0.05)
        return self.source.read(name)


def running(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='asks /proc for processes')
def test_killed_conversion_goes_on(tmp_path):
    make_bigearthnet_v1(tmp_path / 'tree', 40)
    source, out = open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb')
    for log in ('first', 'second'):
        (tmp_path / log).mkdir()
    child = multiprocessing.get_context('fork').Process(
        target=convert,
        args=(SlowSource(source, tmp_path / 'first'), out),
        kwargs=dict(workers=2, batch_size=4),
    )
    child.start()
    file, end = Path(out) / 'data.mdb', time.time() + 60
    while not (file.exists() and file.stat().st_size > 8 * 160_000) and time.time() < end:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with pytest.raises(DataError, match='the conversion was not finished'):
        PatchReader(out).names()
    close_reader(out)
    pids = {int(path.name.split('.')[0]) for path in (tmp_path / 'first').iterdir()}
    while any(map(running, pids)) and time.time() < end:
        time.sleep(0.1)
    assert len(pids) == 2 and not any(map(running, pids)), 'workers outlive a killed conversion'
    manifest = convert(SlowSource(source, tmp_path / 'second'), out, workers=0, batch_size=4)
    again = len(list((tmp_path / 'second').iterdir()))
    assert 0 < again < 40 and manifest['patches'] == 40
    whole = convert(source, str(tmp_path / 'whole'), workers=0)
    assert whole['records_sha256'] == manifest['records_sha256']


class KilledAt:
    """A source whose reader is killed at one patch, as the kernel does when memory runs out."""

    layout, root = 'v1', 'root'

    def __init__(self, source, name, parent):
        self.source, self.name, self.parent = source, name, parent
        self.names, self.splits = source.names, source.splits

    def read(self, name):
        if name == self.name and os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.source.read(name)


def test_a_killed_reading_process_ends_the_conversion_with_one_sentence(tmp_path):
    names = sorted(make_bigearthnet_v1(tmp_path / 'tree', 40))
    source = open_source(tmp_path / 'tree')
    with pytest.raises(DataError, match='a process that reads patches was killed .* run the same'):
        convert(
            KilledAt(source, names[36], os.getpid()),
            str(tmp_path / 'lmdb'),
            workers=1,
            batch_size=8,
        )
    with pytest.raises(DataError, match='was not finished'):
        PatchReader(tmp_path / 'lmdb').names()
    close_reader(tmp_path / 'lmdb')
    with PatchWriter(str(tmp_path / 'lmdb')) as writer:
        assert len(writer.present()) >= 16
    assert convert(source, str(tmp_path / 'lmdb'), workers=2)['patches'] == 40


def test_command_line(tmp_path):
    names = make_bigearthnet_v1(tmp_path / 'tree', 4)
    (tmp_path / 'snow.csv').write_text(f'{names[3]}\n')
    (tmp_path / 'train.csv').write_text('\n'.join([*names, 'gone']))
    tool = Path(__file__).parents[2] / 'tools/dataset_converters/bigearthnet_to_lmdb.py'
    command = [
        sys.executable,
        tool,
        tmp_path / 'tree',
        tmp_path / 'lmdb',
        '--workers',
        '2',
        '--splits',
        tmp_path / 'train.csv',
        '--exclude',
        tmp_path / 'snow.csv',
        '--verify',
    ]
    environment = dict(os.environ, PYTHONPATH=str(tool.parents[2]))
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr
    assert '3 patches from layout v1, 1 excluded, verified' in done.stdout
    assert 'splits/train.csv: 3 patches' in done.stdout
    assert '1 patches have a problem:\n  gone: no folder' in done.stdout


def test_verify_finds_a_changed_source(tmp_path):
    names = make_bigearthnet_v1(tmp_path / 'tree', 3)
    convert(open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb'), workers=0)
    path = tmp_path / 'tree' / names[1] / f'{names[1]}_B02.tif'
    changed = tifffile.imread(path)
    changed[5, 5] += 1
    tifffile.imwrite(path, changed)
    manifest = convert(
        open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb'), workers=2, verify=True
    )
    assert [name for name, _ in manifest['problems']] == [names[1]]
    assert 'differs from its source' in manifest['problems'][0][1]


def test_map_grows_and_manifest_does_not_depend_on_the_run(tmp_path):
    folder = tmp_path / 'v1'
    make_bigearthnet_v1(folder, 12)
    with PatchWriter(tmp_path / 'small', map_size=1 << 16) as writer:
        assert writer.env.info()['map_size'] == 1 << 16
        conversion._write(writer, open_source(folder), open_source(folder).names(), 0, 5)
        assert writer.env.info()['map_size'] >= 12 * 160_000
        writer.set_complete(True)
    assert len(PatchReader(tmp_path / 'small').names()) == 12
    whole = convert(open_source(folder), str(tmp_path / 'whole'), workers=2, batch_size=5)
    again = convert(open_source(folder), str(tmp_path / 'small'), workers=0)
    assert whole['records_sha256'] == again['records_sha256'] and whole['patches'] == 12


def test_bad_sources(tmp_path):
    with pytest.raises(MissingFileError, match='no such folder'):
        open_source(tmp_path / 'none')
    with pytest.raises(DataError, match='no patch there to convert'):
        convert(open_source(tmp_path), str(tmp_path / 'lmdb'))
    with pytest.raises(DataError, match="the list val: 'a' is listed twice"):
        convert(open_source(tmp_path), str(tmp_path / 'lmdb'), dict(train=['c'], val=['a', 'a']))
    (tmp_path / 'BigEarthNet-S2').mkdir()
    with pytest.raises(MissingFileError, match='metadata.parquet: no such table'):
        open_source(tmp_path)
    (tmp_path / 'metadata.parquet').write_bytes(b'x' * 100)
    with pytest.raises(DataError, match='not a table with `patch_id` and `labels`'):
        open_source(tmp_path)
    with pytest.raises(MissingFileError, match='missing band'):
        read_bands(tmp_path, 'p')


def parquet(path, names, splits, labels=None):
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = labels or [['Pastures']] * len(names)
    pq.write_table(pa.table(dict(patch_id=names, labels=labels, split=splits)), path)


BANDS = sum(GROUPS.values(), ())


def rico_hdl(folder, names, bands=BANDS):
    """An LMDB as rico-hdl writes it: a safetensors file for each patch."""
    from safetensors.numpy import save

    sizes = {band: SIZES[group] for group, of in GROUPS.items() for band in of}
    written = {}
    with lmdb.open(str(folder), map_size=1 << 24) as env, env.begin(write=True) as txn:
        for number, name in enumerate(names):
            rng = np.random.default_rng(number)
            written[name] = {
                band: rng.integers(0, 4000, (sizes[band],) * 2).astype(np.uint16) for band in bands
            }
            txn.put(name.encode(), save(written[name]))
    return written


NAMES = [f'S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_0_{k}' for k in range(4)]


def test_an_lmdb_of_rico_hdl_is_read(tmp_path):
    written = rico_hdl(tmp_path / 'lmdb', NAMES)
    with pytest.raises(DataError, match=r'rico-hdl and reBEN \(safetensors\); convert it with'):
        PatchReader(tmp_path / 'lmdb').names()
    close_reader(tmp_path / 'lmdb')
    with pytest.raises(MissingFileError, match='rico-hdl .* no labels, .*--metadata'):
        open_source(tmp_path / 'lmdb')
    parquet(tmp_path / 'meta.parquet', NAMES, ['train', 'Validation', 'val', 'test'])
    source = open_source(tmp_path / 'lmdb', metadata=[tmp_path / 'meta.parquet'])
    assert source.layout == 'safetensors'
    manifest = convert(source, str(tmp_path / 'out'), workers=2, verify=True)
    assert manifest['patches'] == 4 and not manifest['problems'] and manifest['verified']
    counts = {split: of['patches'] for split, of in manifest['splits'].items()}
    assert counts == dict(train=1, val=2, test=1)
    reader = PatchReader(tmp_path / 'out')
    for name in NAMES:
        for group, bands in GROUPS.items():
            expected = np.stack([written[name][band] for band in bands])
            np.testing.assert_array_equal(reader.read(name)[group], expected)


def test_a_patch_of_rico_hdl_without_a_band_costs_itself_alone(tmp_path):
    rico_hdl(tmp_path / 'lmdb', NAMES[:1], bands=('B02', 'B03', 'B04', 'B08'))
    rico_hdl(tmp_path / 'lmdb', NAMES[1:2])
    parquet(tmp_path / 'meta.parquet', NAMES[:3], ['train'] * 3)
    source = open_source(tmp_path / 'lmdb', metadata=[tmp_path / 'meta.parquet'])
    manifest = convert(source, str(tmp_path / 'out'), workers=0)
    assert manifest['patches'] == 1
    assert [text.split(' no ')[1] for _, text in manifest['problems']] == [
        'band B05, B06, B07, B8A, B11, B12, B01, B09',
        f'patch {NAMES[2]!r}',
    ]
    parquet(tmp_path / 'meta.parquet', ['S2B_other_0_0'], ['train'])
    with pytest.raises(DataError, match='holds none of the 1 patches of .*meta.parquet'):
        open_source(tmp_path / 'lmdb', metadata=[tmp_path / 'meta.parquet'])


def test_no_split_of_v2_is_lost_in_silence(tmp_path):
    table = tmp_path / 'metadata.parquet'
    parquet(table, NAMES, ['train', 'dev', None, 'test'])
    with pytest.raises(DataError, match=r"holds 'dev' \(1\), 'None' \(1\).*train, validation or"):
        open_source(tmp_path, 'v2')
    parquet(table, [*NAMES[:3], None], ['train'] * 4)
    with pytest.raises(DataError, match='row 3 has no `patch_id`'):
        open_source(tmp_path, 'v2')
    parquet(table, [*NAMES[:3], NAMES[0]], ['train'] * 4)
    with pytest.raises(DataError, match='is listed twice'):
        open_source(tmp_path, 'v2')


@pytest.mark.parametrize('labels', ['null', '"Pastures"', '[1]', '{}'])
def test_a_record_of_the_wrong_type_is_listed_and_the_rest_goes_on(tmp_path, labels):
    names = make_bigearthnet_v1(tmp_path / 'tree', 2)
    path = tmp_path / f'tree/{names[0]}/{names[0]}_labels_metadata.json'
    path.write_text(f'{{"labels": {labels}}}')
    manifest = convert(open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb'), workers=0)
    assert manifest['patches'] == 1
    assert 'not a list of names' in manifest['problems'][0][1]
    path.write_text('[]')
    manifest = convert(open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb'), workers=0)
    assert 'cannot be read' in manifest['problems'][0][1]


@pytest.mark.parametrize(
    'form, hint', [('{}.tif', 'without its folder'), ('x/{}', 'without its'), ('0 {}', 'row')]
)
def test_a_list_written_in_another_way_is_one_sentence(tmp_path, form, hint):
    names = make_bigearthnet_v1(tmp_path / 'tree', 2)
    listed = dict(train=[form.format(name) for name in names])
    with pytest.raises(DataError, match=f'the list train: none of its 2 names .*{hint}'):
        convert(open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb'), listed, workers=0)
    assert not (tmp_path / 'lmdb').exists()


def test_the_file_of_an_lmdb_is_no_folder(tmp_path):
    (tmp_path / 'data.mdb').write_bytes(b'')
    with pytest.raises(DataError, match='data.mdb is a file of an LMDB; name the folder'):
        BigEarthNetDataset(str(tmp_path / 'data.mdb'))
    with pytest.raises(DataError, match='data.mdb is a file; name the folder'):
        open_source(tmp_path / 'data.mdb')
