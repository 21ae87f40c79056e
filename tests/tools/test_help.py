"""Every tool answers --help at once: before torch, or anything as heavy, is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'tools').rglob('*.py')
    if not path.name.startswith('_') and '__main__' in path.read_text()
)
RUN = """
import runpy, sys
sys.argv = [{tool!r}, '--help']
try:
    runpy.run_path({tool!r}, run_name='__main__')
except SystemExit as done:
    assert not done.code, done.code
heavy = {{'torch', 'numpy', 'mmengine', 'cv2', 'PIL', 'matplotlib', 'pandas'}} & set(sys.modules)
assert not heavy, f'imported before --help answered: {{sorted(heavy)}}'
"""


@pytest.mark.parametrize('tool', TOOLS)
def test_help_is_light(tool):
    done = subprocess.run(
        [sys.executable, '-c', RUN.format(tool=tool)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert 'usage:' in done.stdout
