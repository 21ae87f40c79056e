"""Makes an environment of another Python or torch by our own install files, and tests in it.

    python -m tests.environments.run --python 3.13
    python -m tests.environments.run --python 3.11 --torch newest --setuptools newest

An environment takes several GB and is deleted afterwards (``--keep`` leaves it). The last lines say
the versions and what pytest found; the exit status is that of pytest.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = (
    'tests/test_compat.py',
    'tests/test_registry.py',
    'tests/test_configs.py',
    'tests/launch',
    'tests/models',
    'tests/engine/test_hooks.py',
    'tests/engine/test_schedule_check.py',
    'tests/datasets/test_pictures.py',
    'tests/apis/test_change_runs.py',
    'tests/apis/test_oml_runs.py',
)
_SHOWN = ('torch', 'torchvision', 'numpy', 'setuptools', 'mmengine', 'mmcv-lite', 'mmsegmentation')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--python', required=True, metavar='3.13', help='version, or a path')
    parser.add_argument('--torch', choices=('pinned', 'newest'), default='pinned')
    parser.add_argument('--setuptools', choices=('pinned', 'newest'), default='pinned')
    parser.add_argument(
        '--extras',
        nargs='*',
        default=['geo'],
        metavar='NAME',
        help='requirements/NAME.txt to install besides; without a name: none (default: geo)',
    )
    parser.add_argument('--folder', metavar='DIR', help='where the environment is made')
    parser.add_argument('--keep', action='store_true', help='do not delete the environment')
    parser.add_argument('tests', nargs='*', metavar='TEST', help='instead of the usual choice')
    return parser.parse_args()


def find_python(wanted: str) -> str:
    """The interpreter of a version, on the path or among those of pyenv.

    Raises:
        SystemExit: there is none.
    """
    if os.sep in wanted:
        return wanted
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv')) / 'versions'
    places = [
        shutil.which(f'python{wanted}'),
        *sorted(map(str, pyenv.glob(f'{wanted}*/bin/python')), reverse=True),
    ]
    for place in filter(None, places):
        asked = subprocess.run(
            [place, '-c', 'import sys; print("%d.%d" % sys.version_info[:2])'],
            capture_output=True,
            text=True,
        )
        if asked.stdout.strip() == '.'.join(wanted.split('.')[:2]):
            return place
    sys.exit(f'there is no Python {wanted} on the path or in {pyenv}.')


def constraints(folder: Path, torch: str, setuptools: str) -> Path:
    """The project's constraints without those of what shall be the newest."""
    free = ['torch', 'torchvision'] if torch == 'newest' else []
    free += ['setuptools'] if setuptools == 'newest' else []
    lines = (ROOT / 'requirements/constraints.txt').read_text().splitlines()
    kept = [line for line in lines if re.split(r'[=<>;\s]', line)[0] not in free]
    path = folder / 'constraints.txt'
    path.write_text('\n'.join(kept) + '\n')
    return path


def main() -> int:
    args = parse_args()
    base = find_python(args.python)
    folder = Path(args.folder or tempfile.mkdtemp(prefix='rs_mm_environment_'))
    folder.mkdir(parents=True, exist_ok=True)
    venv, start = folder / 'venv', time.monotonic()
    allowed = constraints(folder, args.torch, args.setuptools)
    try:
        subprocess.run(
            ['bash', str(ROOT / 'tools/setup_env.sh')],
            check=True,
            env={
                **os.environ,
                'RS_MM_PYTHON': base,
                'RS_MM_VENV': str(venv),
                'RS_MM_CONSTRAINTS': str(allowed),
                'RS_MM_EXTRAS': ' '.join(args.extras),
            },
        )
        python = str(venv / 'bin/python')
        if args.setuptools == 'newest':
            command = [python, '-m', 'pip', 'install', '-q', '-U', 'setuptools']
            subprocess.run(command, check=True)
        installed = time.monotonic()
        done = subprocess.run(
            [python, '-m', 'pytest', '-q', '-n', '0', *(args.tests or TESTS)],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
        )
        shown = subprocess.run(
            [python, '-m', 'pip', 'list', '--format=freeze'], capture_output=True, text=True
        ).stdout.split()
        versions = [line for line in shown if line.partition('==')[0].lower() in _SHOWN]
        what = subprocess.run([python, '--version'], capture_output=True, text=True).stdout.strip()
        print(f'{what}: {" ".join(versions)}')
        print(
            f'made in {installed - start:.0f} s, tested in {time.monotonic() - installed:.0f} s, '
            f'exit status {done.returncode}'
        )
        return done.returncode
    finally:
        if not args.keep:
            shutil.rmtree(venv, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
