import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_compares_equal_values_and_reports():
    # the tool itself asserts that both ways of evaluating give the same metrics
    done = subprocess.run(
        [
            sys.executable,
            'tools/benchmarks/composed.py',
            'evaluation',
            '--images',
            '1700',
            '--dim',
            '16',
            '--pairs',
            '30',
            '--single-pairs',
            '5',
            '--threads',
            '1',
        ],
        cwd=ROOT,
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '1700 images x 16, 1 threads, 4 methods, 30 pairs' in done.stdout
    assert done.stdout.count('ms per pair') == 2 and 'ratio' in done.stdout
