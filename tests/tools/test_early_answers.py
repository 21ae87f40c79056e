"""A wrong path is named before torch is imported, so that the answer comes at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rasterio', reason='the extra geo is not installed')

ROOT = Path(__file__).parents[2]
HERE = str(Path(__file__))
CONFIG = 'sndl-bce_resnet18_256_130e_aid'
CASES = [
    ['predict_change.py', 'none.tif', HERE, CONFIG, HERE, '--out', 'o'],
    ['predict_change.py', HERE, HERE, CONFIG, 'none.pth', '--out', 'o'],
    ['predict_fewshot.py', CONFIG, HERE, '--support', 'none.png', HERE, '--save-fitted', 'f'],
    ['predict_fewshot.py', CONFIG, HERE, '--fitted', HERE, '--query', 'none', '--out', 'o'],
    ['predict_fewshot.py', CONFIG, HERE, '--fitted', 'none', '--query', HERE, '--out', 'o'],
    ['predict_labels.py', CONFIG, HERE, 'none.png', '--out', 'o.csv'],
    ['predict_labels.py', 'none.py', HERE, HERE, '--out', 'o.csv'],
    ['retrieval/search.py', '--archive', 'none', '--text', 'x'],
    ['retrieval/search.py', '--archive', str(ROOT / 'docs'), '--image', 'none.png'],
    ['retrieval/search.py', '--text', 'x', '--weights', 'none.pth'],
    ['retrieval/search.py', '--text', 'x', '--config', 'none.py'],
    ['retrieval/search.py', '--queries', 'none.csv'],
]
# all in one process, since none of them imports much
PROGRAM = """
import json, runpy, sys
found = []
for tool, *given in json.loads(sys.argv[1]):
    sys.argv = [tool, *given]
    try:
        runpy.run_path('tools/' + tool, run_name='__main__')
        status = 0
    except SystemExit as left:
        status = left.code
    heavy = sorted({'torch', 'mmengine', 'mmcv'} & set(sys.modules))
    found.append([status, heavy])
    print('end of', tool, file=sys.stderr)
print(json.dumps(found))
"""


def test_wrong_paths_are_named_without_torch():
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, json.dumps(CASES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    texts = done.stderr.split('end of ')
    for case, (status, heavy), text in zip(CASES, json.loads(done.stdout), texts):
        wrong = next(part for part in case if part.startswith('none'))
        assert status == 2 and heavy == [], (case, heavy, text)
        assert text.strip().splitlines()[-1].startswith('error: ') and wrong in text, (case, text)
