"""Each file is written whole or not at all: nothing but `rs_mm.files` opens one for writing."""

import ast
from pathlib import Path

import pytest

from tests.parsing import parse

ROOT = Path(__file__).parents[1]
ATOMIC = {'atomic_write', 'atomic_path', 'atomic_folder'}
WRITERS = {
    'write_text', 'write_bytes', 'savez', 'savez_compressed', 'open_memmap', 'imwrite', 'savefig',
    'to_csv', 'to_json', 'to_file', 'to_parquet', 'to_excel', 'copyfile', 'copy2', 'symlink_to',
}  # fmt: skip
# writers called `save`, by what they are called on; our own classes write by the same rule
SAVERS = {'np', 'torch', 'onnx', 'Image', 'image', 'picture', 'fromarray', 'jit', 'export'}
# (file, function) -> why it may
ALLOWED = {
    ('rs_mm/apis/backends.py', '_exported'): 'a temporary folder',
    ('rs_mm/apis/exporting/export_model.py', '_write'): 'the folder of atomic_folder',
    ('rs_mm/apis/exporting/export_model.py', '_write_arrays'): 'the same',
    ('rs_mm/apis/exporting/export_model.py', '_copy_vocabulary'): 'the same',
    ('rs_mm/apis/exporting/export_model.py', '_write_supports'): 'the same',
    ('rs_mm/apis/exporting/export_model.py', '_add_metadata'): 'the same',
    ('rs_mm/apis/exporting/precision.py', '_to_float16'): 'the name that atomic_path gave',
    ('rs_mm/rasters/writing.py', '_write_tiff'): 'its caller renames it',
    ('rs_mm/rasters/writing.py', '_add_overviews'): 'its caller renames it',
    ('rs_mm/retrieval/cache.py', 'write'): 'a new name, which features.json gives when it is whole',
    ('rs_mm/retrieval/index/exact.py', '_upsert'): 'rows behind the end, counted by the database',
    ('rs_mm/retrieval/index/locking.py', 'folder_lock'): 'an empty file to lock',
    ('rs_mm/analysis/step_benchmark.py', '_forget_peak'): 'a switch of the kernel',
}  # fmt: skip
# drawn or made for a benchmark, into a folder that is made anew
GENERATED = ('rs_mm/datasets/fake', 'tools/benchmarks')
FILES = sorted(
    path
    for folder in ('rs_mm', 'tools')
    for path in (ROOT / folder).rglob('*.py')
    if not str(path.relative_to(ROOT)).startswith(GENERATED) and path.name != 'files.py'
)


def in_memory(call):
    """Whether what is written to is called as bytes in memory are."""
    return any(ast.unparse(target) in ('buffer', 'content') for target in call.args[:2])


def writes(call):
    """Whether a call writes a file by a name."""
    name = getattr(call.func, 'attr', getattr(call.func, 'id', ''))
    if name == 'save':
        owner = ast.unparse(call.func.value).split('(')[0].split('.')[-1]
        return owner in SAVERS and not in_memory(call)
    if name not in ('open', 'fdopen'):
        return name in WRITERS and not in_memory(call)
    words = [a.value for a in [*call.args[:2], *(k.value for k in call.keywords if k.arg == 'mode')]
             if isinstance(a, ast.Constant) and isinstance(a.value, str)]  # fmt: skip
    return any(set(word) <= set('rwabxt+') and set(word) & set('wax+') for word in words)


def loose_writers(tree):
    """Functions in which a file is written beside the atomic writer, and the call."""

    def visit(node, function, safe):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function, safe = node.name, False
        if isinstance(node, ast.With):
            text = ' '.join(ast.unparse(item.context_expr) for item in node.items)
            safe = safe or any(f'{name}(' in text for name in ATOMIC)
        if isinstance(node, ast.Call) and not safe and writes(node):
            yield function, ast.unparse(node)[:90]
        for child in ast.iter_child_nodes(node):
            yield from visit(child, function, safe)

    return list(visit(tree, '', False))


def test_only_the_atomic_writer_opens_files_for_writing():
    found, used = [], set()
    for path in FILES:
        name = str(path.relative_to(ROOT))
        for function, call in loose_writers(parse(path)):
            if (name, function) in ALLOWED:
                used.add((name, function))
            else:
                found.append(f'{name}, {function}: {call}')
    assert found == []
    assert set(ALLOWED) == used, 'these are no writers any more'


@pytest.mark.parametrize(
    'code',
    [
        "open(p, 'w')", "p.open('wb')", "open(p, mode='a')", 'p.write_text(t)', 'np.save(p, x)',
        'Image.fromarray(x).save(p)', 'figure.savefig(p)', "rasterio.open(p, 'r+')",
        'torch.save(x, p)', "fake_atomic(p); open(p, 'x')",
    ],
)  # fmt: skip
def test_writers_are_found(code):
    assert loose_writers(ast.parse(f'def f():\n {code}'))
    assert not loose_writers(ast.parse(f'def f():\n with atomic_path(q) as p:\n  {code}'))


def test_readers_are_no_writers():
    code = "open(p); open(p, 'rb'); p.open(); np.load(p); pca.save(p); np.save(buffer, x)"
    assert not loose_writers(ast.parse(f'def f():\n {code}'))
