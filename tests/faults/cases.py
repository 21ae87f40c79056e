"""The kinds of faults: each sets something wrong, and says how what happens shall end."""

from __future__ import annotations

import contextlib
import io
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rs_mm.errors import RSMMError

HELD, REFUSED = 'right', 'refused in one sentence'


@dataclass
class Fault:
    """A kind of fault.

    Attributes:
        group: heading of the table.
        name: what is wrong.
        run: sets it wrong in an empty folder and returns what was observed.
        tries: how often, each with another draw.
    """

    group: str
    name: str
    run: Callable[[Path, random.Random], str]
    tries: int = 1


def refused(action: Callable[[], object]) -> str:
    """What an action ends in: :data:`REFUSED` if in one of our own errors, of one line."""
    try:
        action()
    except RSMMError as error:
        text = str(error)
        return REFUSED if text.strip() and '\n' not in text else f'no single line: {text[:80]!r}'
    except SystemExit as error:
        return f'left with status {error.code}'
    except BaseException as error:
        return f'{type(error).__name__}: {str(error)[:80]}'
    return HELD


def all_faults() -> Iterator[Fault]:
    """Every kind."""
    yield from _pickles()
    yield from _damaged_files()
    yield from _bombs()
    yield from _configs()
    yield from _paths()
    yield from _folders()


def _pickles():
    from tests.hostile_pickles import hostile, write_checkpoint, write_legacy

    for name, content in hostile().items():
        for write in (write_checkpoint, write_legacy):
            form = 'archive' if write is write_checkpoint else 'old format'

            def run(folder, draw, content=content, write=write):
                from rs_mm.checkpoint import load_file

                write(folder / 'a.pth', content)
                outcome = refused(lambda: load_file(folder / 'a.pth'))
                return 'something was executed' if list(folder.glob('executed*')) else outcome

            yield Fault('Pickles of strangers', f'{name}, {form}', run)


_DAMAGES = {
    'empty': lambda content, draw: b'',
    'cut': lambda content, draw: content[: draw.randrange(1, len(content))],
    'zeros over a part': lambda content, draw: _zeros(content, draw),
    'a web page instead': lambda content, draw: b'<!DOCTYPE html><html>404</html>' * 4,
    'a git-lfs pointer instead': lambda content, draw: (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n'
    ),
    'random bytes': lambda content, draw: draw.randbytes(len(content)),
}


def _zeros(content, draw):
    size = min(512, len(content) // 2)
    at = draw.randrange(len(content) - size)
    return content[:at] + bytes(size) + content[at + size :]


_READERS = (
    'PNG',
    'JPEG',
    'BMP',
    'GIF',
    'WebP',
    'TIFF',
    'label PNG',
    'label TIFF',
    'label table, packed',
    'few-shot list',
    'PatternCom table',
    'PCA',
    'eigenvectors',
    'feature cache',
    'LMDB record',
    'checkpoint',
    'TorchScript',
)


def _damaged_files():
    for name in _READERS:
        for damage, spoil in _DAMAGES.items():

            def run(folder, draw, name=name, spoil=spoil):
                from tests.fuzz.targets import TARGETS

                target = TARGETS[name]
                content = draw.choice(target.make(folder))
                path = folder / target.file
                path.write_bytes(spoil(content, draw))
                return refused(lambda: target.read(path))

            yield Fault('Damaged files', f'{name}: {damage}', run, tries=5)


def _bombs():
    from tests.test_limits import png_of

    def header(read, suffix):
        def run(folder, draw):
            (folder / f'a.{suffix}').write_bytes(png_of(100_000, 100_000, draw.choice((0, 2, 6))))
            return refused(lambda: read(folder / f'a.{suffix}'))

        return run

    def tiff(folder, draw):
        import tifffile

        from rs_mm.datasets.pictures import read_picture

        image = np.zeros((20_000, 20_000), np.uint8)
        tifffile.imwrite(folder / 'a.tif', image, compression='deflate')
        return refused(lambda: read_picture(folder / 'a.tif'))

    def table(folder, draw):
        import gzip

        from rs_mm.datasets.label_tables import read_names

        with gzip.open(folder / 'a.csv.gz', 'wb', 1) as file:
            for _ in range(300):
                file.write(bytes(1 << 20))
        return refused(lambda: read_names(str(folder / 'a.csv.gz')))

    def archive(folder, draw):
        import zipfile

        from rs_mm.checkpoint import load_file

        with zipfile.ZipFile(folder / 'a.pth', 'w', zipfile.ZIP_DEFLATED) as file:
            file.writestr('a/data/0', bytes(200 << 20))
        return refused(lambda: load_file(folder / 'a.pth'))

    def arrays(folder, draw):
        from rs_mm.retrieval import PCA

        np.savez_compressed(folder / 'a.npz', mean=np.zeros(20 << 20), projection=np.zeros(4))
        return refused(lambda: PCA.load(folder / 'a.npz'))

    def aliases(folder, draw):
        from rs_mm.launch.config import load_config

        lines = ['a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]'] + [
            f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]' for i in range(1, 10)
        ]
        (folder / 'a.yaml').write_text('\n'.join(lines))
        return refused(lambda: load_config(folder / 'a.yaml'))

    def loop(folder, draw):
        from rs_mm.launch.config import load_config

        (folder / 'a.yaml').write_text('model: &a {type: X, model: *a}\n')
        return refused(lambda: load_config(folder / 'a.yaml'))

    def deep(folder, draw):
        from rs_mm.launch.config import load_config

        (folder / 'a.json').write_text('{"a":' * 5000 + '1' + '}' * 5000)
        return refused(lambda: load_config(folder / 'a.json'))

    from rs_mm.datasets.label_maps import read_label_map
    from rs_mm.datasets.pictures import read_picture, read_rgb

    group = 'Small files that ask for much'
    yield Fault(group, 'a picture whose header states 10 GPixel', header(read_picture, 'png'), 3)
    yield Fault(group, 'the same, as a photograph', header(read_rgb, 'png'), 3)
    yield Fault(group, 'the same, as a label map', header(read_label_map, 'png'), 3)
    yield Fault(group, 'a TIFF of 400 MPixel in 400 kB', tiff)
    yield Fault(group, 'a packed table of 300 MB', table)
    yield Fault(group, 'a checkpoint that unpacks to 200 MB', archive)
    yield Fault(group, 'a PCA file that unpacks to 160 MB', arrays)
    yield Fault(group, 'a YAML config of 10^10 references', aliases)
    yield Fault(group, 'a YAML config that contains itself', loop)
    yield Fault(group, 'a JSON config 5,000 levels deep', deep)


def _configs():
    texts = {
        f'YAML tag {tag.split()[0]}': ('yaml', f'model: {{type: X}}\nwork_dir: {tag}\n')
        for tag in (
            '!!python/object/apply:os.system [touch executed]',
            '!!python/object/new:os.system [touch executed]',
            '!!python/name:os.system',
            '!!python/module:os',
            '!!python/object:os.system {}',
        )
    }
    for suffix in ('yaml', 'json'):
        for kind in ('os.system', 'subprocess.getoutput', 'builtins.eval'):
            texts[f'type={kind} in {suffix}'] = (suffix, f'{{"model": {{"type": "{kind}"}}}}')
    texts['a list instead of settings'] = ('yaml', '- 1\n- 2\n')
    texts['no text at all'] = ('yaml', '')
    texts['half a JSON'] = ('json', '{"model": {"type"')
    texts['a syntax error'] = ('py', 'model = dict(type=\n')
    texts['a name that does not exist'] = ('py', 'model = nothing\n')
    texts['a base that does not exist'] = ('py', "_base_ = './nothing.py'\n")
    for name, (suffix, text) in texts.items():

        def run(folder, draw, suffix=suffix, text=text):
            from rs_mm.launch.config import load_config

            (folder / f'a.{suffix}').write_text(text)
            with (
                contextlib.chdir(folder)
                if hasattr(contextlib, 'chdir')
                else contextlib.nullcontext()
            ):
                outcome = refused(lambda: load_config(folder / f'a.{suffix}'))
            return 'something was executed' if (folder / 'executed').exists() else outcome

        yield Fault('Configs', name, run)


def _paths():
    for name in ('../../x', '/etc/passwd', 'a/../../x', 'C:\\x', '~/x'):
        for what, read in _NAMED.items():

            def run(folder, draw, name=name, read=read):
                return refused(lambda: read(folder, name))

            yield Fault('Names that lead out of the data folder', f'{what}: {name}', run)


def _few_shot_list(folder, name):
    from rs_mm.datasets.episodes import read_entries

    (folder / 'a.txt').write_text(f'{name}__1\n')
    read_entries(folder / 'a.txt')


def _parquet(folder, name):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from rs_mm.datasets.bigearthnet.metadata import Metadata

    table = pa.table({'patch_id': [name], 'labels': [['Pastures']]})
    pq.write_table(table, folder / 'a.parquet')
    Metadata([folder / 'a.parquet'])


def _manifest(folder, name):
    import json

    from rs_mm.exported.model import FORMAT, read_manifest

    info = dict(format_version=FORMAT, task='change', format='onnx', graphs={'m': {'file': name}})
    (folder / 'model.json').write_text(json.dumps(info))
    read_manifest(folder)


def _index(folder, name):
    import sqlite3

    from rs_mm.retrieval.index import Record, open_index

    index = open_index(str(folder), dims=2, identity={'model': 'x'})
    index.add([Record('a', 'a')], np.ones((1, 2), np.float32))
    with sqlite3.connect(folder / 'index.sqlite') as base:
        base.execute("UPDATE state SET content = ? WHERE name = 'array'", (name.encode(),))
    open_index(str(folder)).fetch(['a'])


_NAMED = {
    'few-shot list': _few_shot_list,
    'table of patches': _parquet,
    'manifest of an export': _manifest,
    'index': _index,
}


def _folders():
    from rs_mm.launch.work_dir import claim, newest_checkpoint, release

    def locked(folder, draw):
        import signal
        import time

        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            claim(folder / 'run')
            os.write(writer, b'1')
            time.sleep(60)
            os._exit(0)
        os.read(reader, 1)
        outcome = refused(lambda: claim(folder / 'run'))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        again = refused(lambda: claim(folder / 'run'))
        release()
        return outcome if again == HELD else f'stale lock: {again}'

    def in_the_way(folder, draw):
        (folder / 'run').write_text('x')
        return refused(lambda: claim(folder / 'run'))

    def left_over(folder, draw):
        (folder / '.iter_3.77.unfinished.pth').write_bytes(bytes(100))
        claim(folder)
        release()
        return HELD if not list(folder.glob('*.pth')) else 'still there'

    def flipped(folder, draw):
        import torch

        from rs_mm.checkpoint import load_file, save_converted

        save_converted({'w': torch.ones(5000)}, folder / 'a.pth')
        content = bytearray((folder / 'a.pth').read_bytes())
        content[draw.randrange(len(content) - 80)] ^= 1 << draw.randrange(8)
        (folder / 'a.pth').write_bytes(content)
        return refused(lambda: load_file(folder / 'a.pth'))

    def newest_damaged(folder, draw):
        import torch

        from rs_mm.checkpoint import save_converted

        for step in (1, 2):
            save_converted({'w': torch.ones(5000)}, folder / f'iter_{step}.pth')
        content = bytearray((folder / 'iter_2.pth').read_bytes())
        content[draw.randrange(len(content) - 80)] ^= 1 << draw.randrange(8)
        (folder / 'iter_2.pth').write_bytes(content)
        with contextlib.redirect_stdout(io.StringIO()):
            return HELD if newest_checkpoint(folder).endswith('iter_1.pth') else 'took the damaged'

    def lmdb(folder, cut):
        from rs_mm.datasets.bigearthnet.records import pack_record
        from rs_mm.datasets.bigearthnet.store import PatchReader, PatchWriter, close_reader

        record = dict(label19=np.zeros(19, np.uint8), b10=np.ones((4, 120, 120), np.uint16))
        with PatchWriter(str(folder / 'lmdb')) as writer:
            writer.put((f'p{i}', pack_record(record)) for i in range(20))
            writer.set_complete(True)
        path = folder / 'lmdb/data.mdb'
        reader = PatchReader(str(folder / 'lmdb'))
        if cut == 'open':
            reader.read('p1')
            os.truncate(path, path.stat().st_size // 2)
        elif cut == 'before':
            os.truncate(path, path.stat().st_size // 2)
        else:
            content = bytearray(path.read_bytes())
            content[content.index(b'\x01\x00' * 2000) + 100] ^= 1
            path.write_bytes(content)
        outcomes = {refused(lambda i=i: reader.read(f'p{i}')) for i in range(20)} - {HELD}
        close_reader(str(folder / 'lmdb'))
        return REFUSED if outcomes == {REFUSED} else str(outcomes)

    group = 'Work folders and silent damage'
    yield Fault(group, 'a second run in a work folder; then the first is killed', locked)
    yield Fault(group, 'the work folder is a file', in_the_way)
    yield Fault(group, 'half-written files of a killed run', left_over)
    yield Fault(group, 'a flipped bit in a checkpoint', flipped, tries=200)
    yield Fault(group, 'a flipped bit in the newest checkpoint, --resume', newest_damaged, tries=20)
    yield Fault(group, 'an LMDB cut before it is opened', lambda f, d: lmdb(f, 'before'))
    yield Fault(group, 'an LMDB cut while it is open', lambda f, d: lmdb(f, 'open'))
    yield Fault(group, 'a flipped bit in a patch of an LMDB', lambda f, d: lmdb(f, 'flip'))
