"""Checkpoints that a stranger could send: each is written by hand, opcode by opcode.

``python -m tests.hostile_pickles FOLDER`` writes them and loads each through every door, printing
what happened; a test runs that in a process of its own, because what gets through may kill it.
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from pathlib import Path

# opcodes of pickle protocol 2
PROTO, MARK, STOP = b'\x80\x02', b'(', b'.'
REDUCE, NEWOBJ, BUILD, TUPLE = b'R', b'\x81', b'b', b't'
EMPTY_TUPLE, NONE = b')', b'N'


def name(path: str) -> bytes:
    """Pushes a global."""
    module, _, attribute = path.rpartition('.')
    return b'c' + module.encode() + b'\n' + attribute.encode() + b'\n'


def plain(value) -> bytes:
    """Pushes plain data: bytes as Python 2 wrote them, which is what an unpickler keeps as such."""
    if isinstance(value, bytes):
        return b'U' + bytes([len(value)]) + value
    if isinstance(value, Raw):
        return value.code
    if isinstance(value, tuple):
        return MARK + b''.join(map(plain, value)) + TUPLE
    if isinstance(value, list):
        return b']' + MARK + b''.join(map(plain, value)) + b'e'
    if isinstance(value, dict):
        pairs = b''.join(plain(key) + plain(item) for key, item in value.items())
        return b'}' + MARK + pairs + b'u'
    return pickle.dumps(value, 2)[2:-1]


class Raw:
    """Opcodes inside plain data."""

    def __init__(self, code: bytes):
        self.code = code


def call(function: str, *arguments, state=None) -> Raw:
    """Calls a global, and gives the result a state."""
    code = name(function) + plain(arguments) + REDUCE
    return Raw(code if state is None else code + plain(state) + BUILD)


def new(cls: str, *arguments, state=None) -> Raw:
    """Makes an object of a class without its ``__init__``."""
    code = name(cls) + plain(arguments) + NEWOBJ
    return Raw(code if state is None else code + plain(state) + BUILD)


def glob(path: str) -> Raw:
    """A global as a value."""
    return Raw(name(path))


OBJECTS = call('numpy.dtype', 'O8', False, True)
FLOATS = call('numpy.dtype', 'f8', False, True)
PLAIN_STATE = (3, '<', None, None, None, -1, -1, 0)
ADDRESSES = b'A' * 8


def array(kind, content, shape=(1,), module='numpy.core', state=None):
    """An array as numpy pickles it."""
    return call(
        f'{module}.multiarray._reconstruct',
        glob('numpy.ndarray'),
        (0,),
        b'b',
        state=state or (1, shape, kind, False, content),
    )


def hostile() -> dict[str, Raw]:
    """Name -> what the checkpoint holds under ``state_dict``."""
    voids = call('numpy.dtype', 'V8', False, True)
    no_flags = call('numpy.dtype', 'O8', False, True, state=(3, '|', None, None, None, 8, 1, 0))
    fields = (3, '|', None, ('a',), {'a': (OBJECTS, 0)}, 8, 1, 0)
    found = {
        'ndarray over bytes': call('numpy.ndarray', (1,), OBJECTS, ADDRESSES),
        'ndarray over bytes, new': new('numpy.ndarray', (1,), OBJECTS, ADDRESSES),
        'ndarray with strides': call('numpy.ndarray', (9,), FLOATS, ADDRESSES, 0, (1 << 40,)),
        'ndarray, own size': call('numpy.ndarray', (1 << 40,)),
        'array of objects': array(OBJECTS, [1]),
        'array of objects over bytes': array(OBJECTS, ADDRESSES),
        'type without its flags': array(no_flags, ADDRESSES),
        'type with fields': array(call('numpy.dtype', 'V8', False, True, state=fields), ADDRESSES),
        'void': array(voids, ADDRESSES),
        'type with metadata': call('numpy.dtype', 'f8', state=(4, '<', *PLAIN_STATE[2:], {})),
        'type with size': array(
            call('numpy.dtype', 'f8', state=(3, '<', None, None, None, 80, 1, 0)), ADDRESSES
        ),
        'type with subarray': call(
            'numpy.dtype', 'V80', state=(3, '|', (OBJECTS, (10,)), None, None, 80, 1, 0)
        ),
        'type from a list': call('numpy.dtype', [('a', 'O8')]),
        'type from a dict': call(
            'numpy.dtype', {'names': ['a'], 'formats': ['O8'], 'offsets': [0]}
        ),
        'type new': new('numpy.dtype', 'O8'),
        'strings': array(call('numpy.dtype', 'U2', False, True), ADDRESSES),
        'dates': array(call('numpy.dtype', 'M8', False, True), ADDRESSES),
        'new strings': array(call('numpy.dtype', 'T', False, True), ADDRESSES),
        'scalar of an object': call('numpy.core.multiarray.scalar', OBJECTS, ADDRESSES),
        'scalar without flags': call('numpy.core.multiarray.scalar', no_flags, ADDRESSES),
        'scalar beyond its bytes': call('numpy.core.multiarray.scalar', FLOATS, b'A'),
        'scalar without bytes': call('numpy.core.multiarray.scalar', FLOATS),
        'array beyond its bytes': array(FLOATS, ADDRESSES, (1 << 20,)),
        'array of overflowing size': array(FLOATS, ADDRESSES, (1 << 62, 4)),
        'array of negative size': array(FLOATS, ADDRESSES, (-1, -1)),
        'array of no shape': array(FLOATS, ADDRESSES, glob('torch.Tensor')),
        'array of 99 axes': array(FLOATS, ADDRESSES, (1,) * 99),
        'array of another kind': call(
            'numpy.core.multiarray._reconstruct', glob('collections.OrderedDict'), (0,), b'b'
        ),
        'array of a matrix': call(
            'numpy.core.multiarray._reconstruct', glob('numpy.matrix'), (0,), b'b'
        ),
        'array filled twice': Raw(
            array(FLOATS, ADDRESSES).code + plain((1, (1,), OBJECTS, False, ADDRESSES)) + BUILD
        ),
        'type class': call('numpy.dtypes.ObjectDType'),
        'os.system': call('os.system', 'touch executed'),
        'posix.system': call('posix.system', 'touch executed'),
        'eval': call('builtins.eval', "open('executed', 'w')"),
        'getattr of a module': call('builtins.getattr', glob('torch.Tensor'), 'numpy'),
        'getattr of a buffer': call(
            'builtins.getattr', glob('mmengine.logging.history_buffer.HistoryBuffer'), '__init__'
        ),
        'type': call('builtins.type', 'A', (), {}),
        'subprocess': call('subprocess.getoutput', 'touch executed'),
        'numpy load': call('numpy.load', 'x.npy', None, True),
        'runpy': call('runpy.run_path', 'x.py'),
        'torch.load': call('torch.load', 'x.pth'),
        'torch.jit': call('torch.jit.load', 'x.pth'),
        'torch.hub': call('torch.hub.load', 'x', 'y'),
        'history of objects': new(
            'mmengine.logging.history_buffer.HistoryBuffer',
            state={'_log_history': array(OBJECTS, ADDRESSES)},
        ),
        'namespace of objects': new('argparse.Namespace', state={'a': array(OBJECTS, ADDRESSES)}),
        'foreign class': new('rs_mm.registry.Registry', 'a'),
    }
    for module in ('numpy._core', 'numpy.core'):
        found[f'{module} frombuffer'] = call(
            f'{module}.numeric._frombuffer', ADDRESSES, OBJECTS, (1,), 'C'
        )
        found[f'{module} array of objects'] = array(OBJECTS, ADDRESSES, module=module)
    return found


def write_checkpoint(path, content: Raw) -> None:
    """A file of torch whose ``state_dict`` holds ``content``."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a/data.pkl', PROTO + plain({'state_dict': {'w': content}}) + STOP)
        archive.writestr('a/byteorder', 'little')
        archive.writestr('a/version', '3\n')


def write_legacy(path, content: Raw) -> None:
    """The same as torch wrote it before 1.6: pickles in a row."""
    Path(path).write_bytes(
        pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps(dict(protocol_version=1001, little_endian=True), 2)
        + (PROTO + plain({'state_dict': {'w': content}}) + STOP)
        + pickle.dumps([], 2)
    )


def use(value) -> None:
    """Touches all that a file brought along, as a program would."""
    text = io.StringIO()
    print(value, file=text)
    pickle.dumps(value)


def main(folder):
    from mmengine.runner import CheckpointLoader

    from rs_mm import compat
    from rs_mm.checkpoint import load_file, read_state_dict
    from rs_mm.errors import CheckpointError

    compat.apply_for_runs()
    doors = dict(
        file=load_file,
        weights=read_state_dict,
        mmengine=lambda path: CheckpointLoader.load_checkpoint(path, logger='silent'),
    )
    for number, (what, content) in enumerate(hostile().items()):
        for write in (write_checkpoint, write_legacy):
            path = Path(folder, f'{number}.pth')
            write(path, content)
            for door, load in doors.items():
                print(what, door, file=sys.stderr, flush=True)  # the last one, if it kills
                try:
                    use(load(str(path)))
                    outcome = 'loaded'
                except CheckpointError:
                    outcome = 'refused'
                except Exception as error:
                    outcome = type(error).__name__
                print(f'{what} | {door} | {write.__name__} | {outcome}')
            path.unlink()


if __name__ == '__main__':
    main(sys.argv[1])
