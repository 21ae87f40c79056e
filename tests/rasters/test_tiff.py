"""TIFF files that ask for more than a picture needs."""

import struct

import numpy as np
import pytest
import tifffile

from rs_mm.datasets.label_maps import read_label_map
from rs_mm.datasets.pictures import read_picture
from rs_mm.errors import DataError
from rs_mm.rasters import describe, has_rasterio

READERS = [read_picture, read_label_map, *([describe] if has_rasterio() else [])]


def directories(*entries, next_at):
    """A TIFF of one directory, which names the next one."""
    head = struct.pack('<2sHI', b'II', 42, 8)
    return head + struct.pack('<H', len(entries)) + b''.join(entries) + struct.pack('<I', next_at)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize(
    'content, words',
    [
        (directories(*[struct.pack('<HHII', 254, 4, 1, 0)] * 3, next_at=8), '1,000 pages'),
        (directories(*[struct.pack('<HHII', 254, 4, 1, 0)] * 30_000, next_at=0), '20,000 tags'),
        (directories(struct.pack('<HHIHH', 277, 3, 1, 21761, 0), next_at=0), '21,761 bands'),
    ],
    ids=['a directory that names itself', 'many tags', 'many bands'],
)
def test_directories_without_end_are_refused(tmp_path, read, content, words):
    (tmp_path / 'a.tif').write_bytes(content)
    with pytest.raises(DataError, match=words if read is read_label_map else 'a.tif: '):
        read(tmp_path / 'a.tif')


def test_many_pages_are_refused_by_their_number_or_the_limit(tmp_path):
    for pages, words in ((3, '3 pages'), (1001, 'more than 1,000 pages')):
        tifffile.imwrite(
            tmp_path / 'a.tif', np.zeros((pages, 4, 5), np.uint8), photometric='minisblack'
        )
        for read in READERS:
            if read is not describe:
                with pytest.raises(DataError, match=words):
                    read(tmp_path / 'a.tif')
