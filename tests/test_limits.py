"""Small files that ask for much, and names that lead elsewhere, end in one sentence."""

import gzip
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rs_mm.datasets.bigearthnet.records import pack_record, unpack_record
from rs_mm.datasets.bigearthnet.store import PatchReader, PatchWriter, close_reader
from rs_mm.datasets.episodes import read_entries
from rs_mm.datasets.label_maps import read_label_map
from rs_mm.datasets.label_tables import read_label_table, read_names
from rs_mm.datasets.patterncom import read_table
from rs_mm.datasets.pictures import read_picture, read_rgb
from rs_mm.datasets.xview2_cir import read_list
from rs_mm.errors import DataError
from rs_mm.limits import check_inside, check_pixels
from rs_mm.tables import read_text


def png_of(width, height, colour=2):
    """A PNG whose header states a size, with the content of a few pixels."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    header = struct.pack('>IIBBBBB', width, height, 8, colour, 0, 0, 0)
    parts = ((b'IHDR', header), (b'IDAT', zlib.compress(bytes(100))), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts)


@pytest.mark.parametrize('read', [read_picture, read_rgb, read_label_map])
@pytest.mark.parametrize('colour', [0, 2, 6])
def test_a_header_asks_for_gigabytes(tmp_path, read, colour):
    (tmp_path / 'a.png').write_bytes(png_of(100_000, 100_000, colour))
    with pytest.raises(DataError, match=r'a.png: .*(MPixel|million).*RS_MM_MAX_PIXELS'):
        read(tmp_path / 'a.png')


@pytest.mark.parametrize('suffix', ['jpg', 'bmp', 'gif', 'webp', 'tif'])
@pytest.mark.parametrize('read', [read_picture, read_label_map])
def test_every_format_has_the_limit(tmp_path, monkeypatch, suffix, read):
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / f'a.{suffix}')
    assert read(tmp_path / f'a.{suffix}') is not None
    monkeypatch.setenv('RS_MM_MAX_PIXELS', '1999')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)  # set back after the test
    with pytest.raises(DataError, match=f'a.{suffix}: .*RS_MM_MAX_PIXELS'):
        read(tmp_path / f'a.{suffix}')


def test_many_bands_count_as_pixels():
    check_pixels(10_980, 10_980, 'a', 13 * 2)
    with pytest.raises(DataError, match='a: 10000 x 10000 pixels of 400 bytes are'):
        check_pixels(10_000, 10_000, 'a', 400)


READERS = [read_label_table, read_names, read_entries, read_list, read_text]


@pytest.mark.parametrize('read', READERS)
def test_a_table_unpacks_to_much(tmp_path, monkeypatch, read):
    (tmp_path / 'a.csv.gz').write_bytes(gzip.compress(bytes(3 << 20)))
    monkeypatch.setenv('RS_MM_MAX_TABLE_BYTES', str(2 << 20))
    with pytest.raises(DataError, match='unpacks to more than 2 MiB'):
        read(str(tmp_path / 'a.csv.gz'))


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize(
    'content, words',
    [
        (b'no gzip at all', 'cannot be unpacked'),
        (gzip.compress(b'image,a\nx,1\n', mtime=0)[:-6], 'cannot be unpacked'),
        (gzip.compress(b'image,caf\xe9\nx,1\n', mtime=0), 'line 1: .* not UTF-8'),
    ],
)
def test_a_table_is_damaged(tmp_path, read, content, words):
    (tmp_path / 'a.csv.gz').write_bytes(content)
    with pytest.raises(DataError, match=words):
        read(str(tmp_path / 'a.csv.gz'))


def test_a_table_is_no_csv(tmp_path):
    (tmp_path / 'a.csv').write_text('a,"' + 'x' * 200_000 + '",c\n')
    with pytest.raises(DataError, match='is not a CSV'):
        read_table(tmp_path / 'a.csv')


def test_names_stay_in_their_folder(tmp_path, monkeypatch):
    for name in ('a/b.png', 'a/../b', './x', 'a..b', '...'):
        assert check_inside(name, 'table') == name
    outside = (
        '../x',
        'a/../../x',
        '/etc/passwd',
        '..',
        'C:\\x',
        '\\\\host\\x',
        'a\\..\\..\\x',
        '~/x',
    )
    for name in outside:
        with pytest.raises(DataError, match='table: the name .* leads out of the data folder'):
            check_inside(name, 'table')
    (tmp_path / 'a.txt').write_text('../../secret__1\n')
    with pytest.raises(DataError, match='a.txt, line 1: the name'):
        read_entries(tmp_path / 'a.txt')
    monkeypatch.setenv('RS_MM_OUTSIDE_PATHS', '1')
    assert read_entries(tmp_path / 'a.txt') == [('../../secret', 0)]


@pytest.fixture
def lmdb_folder(tmp_path):
    record = dict(label19=np.zeros(19, np.uint8), b10=np.ones((4, 120, 120), np.uint16))
    with PatchWriter(str(tmp_path / 'lmdb')) as writer:
        writer.put((f'p{i}', pack_record(record)) for i in range(20))
        writer.set_complete(True)
    yield tmp_path / 'lmdb'
    close_reader(str(tmp_path / 'lmdb'))


def test_a_flipped_byte_of_a_patch_is_named(lmdb_folder):
    content = bytearray((lmdb_folder / 'data.mdb').read_bytes())
    content[content.index(b'\x01\x00' * 2000) + 1000] ^= 1
    (lmdb_folder / 'data.mdb').write_bytes(content)
    found = []
    for name in (f'p{i}' for i in range(20)):
        try:
            PatchReader(str(lmdb_folder)).read(name)
        except DataError as error:
            found.append(str(error))
    assert len(found) == 1 and 'the checksum does not match' in found[0] and 'patch p' in found[0]


def test_an_lmdb_that_is_cut_while_it_is_open(lmdb_folder):
    reader = PatchReader(str(lmdb_folder))
    reader.read('p3')
    os.truncate(lmdb_folder / 'data.mdb', 100_000)
    with pytest.raises(DataError, match='truncated: 100000 bytes of'):
        reader.read('p19')


@pytest.mark.parametrize('kind', [b'O\0\0\0', b'V8\0\0', b'|O8\0', b'<M8\0', b'8i4\0', b'\xff' * 4])
def test_a_record_states_a_foreign_type(kind):
    record = pack_record(dict(a=np.zeros(8, np.uint8))).replace(b'|u1\0', kind)
    with pytest.raises(DataError, match='its list of arrays is damaged'):
        unpack_record(record)
