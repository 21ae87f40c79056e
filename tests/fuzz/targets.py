"""Every reader of files from elsewhere: how a sound file of it is made, and how it is read."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import tifffile
import torch
from PIL import Image

from rs_mm.checkpoint import load_file, save_converted
from rs_mm.converters.grn import read_checkpoint
from rs_mm.datasets.bigearthnet import legacy
from rs_mm.datasets.bigearthnet.records import pack_record, unpack_record
from rs_mm.datasets.episodes import read_entries
from rs_mm.datasets.label_maps import read_label_map
from rs_mm.datasets.label_tables import read_label_table, read_names, read_split_file
from rs_mm.datasets.patterncom import read_table
from rs_mm.datasets.pictures import read_picture, read_rgb
from rs_mm.datasets.png import decode_plain_png
from rs_mm.datasets.xview2_cir import HEADER, read_list
from rs_mm.launch.config import load_config, parse_options
from rs_mm.models.clip_weights import read_torchscript
from rs_mm.models.spectral.store import EigenvectorStore
from rs_mm.rasters import describe, has_rasterio, read_pixels
from rs_mm.retrieval import PCA
from rs_mm.retrieval.cache import FeatureCache
from rs_mm.retrieval.shards import File, read_shards, write_shard

_DRAW = np.random.default_rng(0)


@dataclass
class Target:
    """A reader.

    Attributes:
        file: name of the file it reads, below the folder it is given.
        read: what reads it.
        make: writes sound files; returns their contents.
    """

    file: str
    read: Callable[[Path], object]
    make: Callable[[Path], list[bytes]]


def _picture(kind='RGB', size=(24, 20), **options):
    def make(folder):
        channels = {'RGB': 3, 'L': 1, 'P': 1, 'RGBA': 4, '1': 1}[kind]
        array = _DRAW.integers(0, 256, (*size, channels), np.uint8)
        image = Image.fromarray(array.squeeze())
        content = io.BytesIO()
        image.convert(kind).save(content, **options)
        return content.getvalue()

    return make


def _pictures(*makers):
    return lambda folder: [make(folder) for make in makers]


def _tiffs(folder):
    geo = [(33550, 'd', 3, (10.0, 10.0, 0.0), True), (33922, 'd', 6, (0, 0, 0, 5e5, 5e6, 0), True)]
    nodata = [(42113, 's', 0, '0', True)]
    arrays = (
        (_DRAW.integers(0, 9000, (20, 24)).astype(np.uint16), dict(extratags=geo + nodata)),
        (_DRAW.integers(0, 255, (20, 24, 3)).astype(np.uint8), dict(compression='deflate')),
        (_DRAW.normal(size=(4, 20, 24)).astype(np.float32), dict(planarconfig='separate')),
        (_DRAW.integers(0, 255, (40, 48)).astype(np.uint8), dict(tile=(16, 16), compression='lzw')),
        (_DRAW.integers(0, 2, (20, 24)).astype(bool), {}),
    )
    found = []
    for array, options in arrays:
        content = io.BytesIO()
        tifffile.imwrite(content, array, metadata=None, **options)
        found.append(content.getvalue())
    return found


def _text(*texts, packed=False):
    contents = [text.encode() for text in texts]
    return lambda folder: [gzip.compress(c, mtime=0) if packed else c for c in contents]


def _checkpoints(folder):
    path = folder / 'seed.pth'
    contents = []
    for state in ({'a.weight': torch.ones(3, 4), 'b': torch.arange(4)}, {'w': torch.zeros(2)}):
        save_converted(state, path, dict(epoch=1, name='x', values=[1.0, None]))
        contents.append(path.read_bytes())
        torch.save({'state_dict': state, 'log': np.arange(3.0)}, path)
        contents.append(path.read_bytes())
        torch.save({'state_dict': state}, path, _use_new_zipfile_serialization=False)
        contents.append(path.read_bytes())
    path.unlink()
    return contents


def _pickles(folder):
    from mmengine.logging.history_buffer import HistoryBuffer

    path = folder / 'seed.pth'
    state = {
        'w': torch.ones(3),
        'n': np.arange(3.0),
        's': np.float64(1),
        'h': HistoryBuffer([1], [1]),
    }
    torch.save({'state_dict': state}, path)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith('data.pkl'))
        return [archive.read(name), pickle.dumps({'state_dict': {'a': [1, 'x', (None, 2.0)]}}, 2)]


def _load_pickle(path):
    """A damaged pickle inside a sound archive, so that no checksum stops it."""
    archive_path = path.with_suffix('.zip.pth')
    with zipfile.ZipFile(archive_path, 'w') as archive:
        archive.writestr('a/data.pkl', path.read_bytes())
        archive.writestr('a/data/0', bytes(12))
        archive.writestr('a/version', '3\n')
        archive.writestr('a/byteorder', 'little')
    return load_file(archive_path)


def _torchscript(folder):
    path = folder / 'seed.pt'
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    return [path.read_bytes()]


def _npz(folder):
    PCA(torch.zeros(4), torch.eye(4), {'model': 'x'}).save(folder / 'seed.npz')
    np.savez_compressed(folder / 'b.npz', mean=np.zeros(4), projection=np.eye(4))
    return [(folder / name).read_bytes() for name in ('seed.npz', 'b.npz')]


def _npy(folder):
    content = io.BytesIO()
    np.save(content, np.zeros((3, 5, 5), np.float32))
    return [content.getvalue()]


def _cache(folder):
    np.save(folder / 'features-a.npy', np.zeros((2, 3), np.float32))
    stored = dict(
        version=2,
        identity={'m': 'x'},
        array='features-a.npy',
        count=2,
        dims=3,
        dtype='float32',
        files=[['a', 1, 2], ['b', 3, 4]],
        unreadable=[[['c', 1, 1], 'bad']],
        paths=['a', 'b'],
        about={},
    )
    return [json.dumps(stored).encode()]


def _read_cache(path):
    cache = FeatureCache(path.parent)
    if cache.stored is not None:
        cache.plan([File('a', 1, 2)]), cache.features(), cache.names(), cache.unreadable()


def _shard(folder):
    write_shard(folder, {'m': 'x'}, [File('a', 1, 2)], np.zeros((1, 3), np.float32), {})
    made = next((folder / 'shards').glob('*.npz'))
    content = made.read_bytes()
    made.unlink()
    return [content]


def _read_shard(path):
    for shard in read_shards(path.parent.parent, {'m': 'x'})[0]:
        shard.features()


def _records(folder):
    return [
        pack_record(dict(label19=np.zeros(19, np.uint8), b10=np.ones((2, 6, 6), np.uint16))),
        pack_record(dict(a=np.zeros(3, np.float32))),
    ]


def _use_record(path):
    for check in (False, True):
        for array in unpack_record(path.read_bytes(), 'p', check=check).values():
            array.sum()


def _legacy(folder):
    """As the original wrote them: a structure, then four arrays as Arrow tensors."""
    arrays = [np.zeros((2, 4, 4), np.float32), np.zeros((2, 2, 2), np.float32)]
    arrays += [np.zeros((1, 2, 2), np.float32), np.zeros(43, np.int64)]
    table = pa.table({'x': [[0, 1, 2, 3]]})
    out = pa.BufferOutputStream()
    out.write(struct.pack('<4i', len(arrays), 0, len(arrays), 0))
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    content = out.getvalue().to_pybytes()
    for array in arrays:
        content += bytes(-len(content) % 64)
        sink = pa.BufferOutputStream()
        pa.ipc.write_tensor(pa.Tensor.from_numpy(array), sink)
        content += sink.getvalue().to_pybytes()
    return [content]


_CONFIG = dict(
    model=dict(type='mmseg.EncoderDecoder', backbone=dict(depth=18, out=[1, 2])),
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
)
_YAML = 'model: &m\n  type: X\n  a: [1, 2.5, yes, null]\nval_cfg: {b: *m}\ntest_cfg: "text"\n'

TARGETS = {
    'PNG, plain': Target(
        'a.png',
        lambda p: decode_plain_png(p.read_bytes()),
        _pictures(_picture('RGB', format='png'), _picture('L', format='png')),
    ),
    'PNG': Target(
        'a.png',
        read_picture,
        _pictures(
            _picture('RGBA', format='png'),
            _picture('P', format='png'),
            _picture('RGB', format='png'),
        ),
    ),
    'JPEG': Target('a.jpg', read_picture, _pictures(_picture('RGB', format='jpeg'))),
    'JPEG by Pillow': Target('a.jpg', read_rgb, _pictures(_picture('L', format='jpeg'))),
    'BMP': Target(
        'a.bmp',
        read_picture,
        _pictures(
            _picture('RGB', format='bmp'), _picture('P', format='bmp'), _picture('1', format='bmp')
        ),
    ),
    'GIF': Target('a.gif', read_picture, _pictures(_picture('P', format='gif'))),
    'WebP': Target('a.webp', read_picture, _pictures(_picture('RGB', format='webp'))),
    'PPM': Target('a.ppm', read_picture, _pictures(_picture('RGB', format='ppm'))),
    'TIFF': Target('a.tif', read_picture, _tiffs),
    'label PNG': Target(
        'a.png',
        read_label_map,
        _pictures(
            _picture('P', format='png'), _picture('L', format='png'), _picture('1', format='png')
        ),
    ),
    'label JPEG': Target(
        'a.jpg', lambda p: read_label_map(p, grey=True), _pictures(_picture('L', format='jpeg'))
    ),
    'label BMP': Target('a.bmp', read_label_map, _pictures(_picture('P', format='bmp'))),
    'label TIFF': Target('a.tif', read_label_map, _tiffs),
    'label table': Target(
        'a.csv',
        lambda p: read_label_table(str(p)),
        _text('image,a,b\nx,0,1\ny,1,1\n', 'image,a\r\nx,1\r\n'),
    ),
    'label table, packed': Target(
        'a.csv.gz',
        lambda p: read_label_table(str(p)),
        _text('image,a,b\nx,0,1\ny,1,1\n', packed=True),
    ),
    'split file': Target(
        'a.csv',
        lambda p: (read_split_file(str(p)), read_names(str(p))),
        _text('x,0,1\ny,1,1\n', 'x 0 1\ny 1 1\n'),
    ),
    'few-shot list': Target('a.txt', read_entries, _text('P0001__1\nP0002__15\n')),
    'PatternCom table': Target('a.csv', read_table, _text('a.jpg,color,red\nb.jpg,color,blue\n')),
    'xView2 list': Target('a.csv', read_list, _text(','.join(HEADER) + '\na,b,c,d,e\n')),
    'PCA': Target('a.npz', PCA.load, _npz),
    'eigenvectors': Target('a.npy', lambda p: EigenvectorStore(p.parent).load('a'), _npy),
    'feature cache': Target('features.json', _read_cache, _cache),
    'shard': Target('shards/a.npz', _read_shard, _shard),
    'LMDB record': Target('a.bin', _use_record, _records),
    'original LMDB value': Target('a.bin', lambda p: legacy.read_patch(p.read_bytes()), _legacy),
    'checkpoint': Target('a.pth', load_file, _checkpoints),
    'pickle in a checkpoint': Target('a.pkl', _load_pickle, _pickles),
    'GRN checkpoint': Target('a.pth', read_checkpoint, _checkpoints),
    'TorchScript': Target('a.pt', read_torchscript, _torchscript),
    'YAML config': Target('a.yaml', load_config, _text(_YAML, json.dumps(_CONFIG))),
    'JSON config': Target('a.json', load_config, _text(json.dumps(_CONFIG))),
    'options': Target(
        'a.txt',
        lambda p: parse_options(p.read_text(errors='replace').split('\n')),
        _text('a.b=[1,(2,x)]\nc=1.5', 'model.x="a,b"'),
    ),
}
if has_rasterio():
    TARGETS['raster'] = Target('a.tif', lambda p: (describe(p), read_pixels(p)), _tiffs)
