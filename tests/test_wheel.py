"""A built wheel is whole: configs, tools and the console command work without a checkout."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, **options):
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A new environment with the wheel alone; the dependencies are those of this one."""
    folder = tmp_path_factory.mktemp('wheel')
    run(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '-w', folder, ROOT)
    venv.create(folder / 'env', with_pip=True)
    python = folder / 'env/bin/python'
    run(python, '-m', 'pip', 'install', '--no-deps', *folder.glob('rs_mm-*.whl'))
    there = run(python, '-c', 'import sysconfig; print(sysconfig.get_paths()["purelib"])').strip()
    # a path alone: the .pth file of an editable rs_mm is not read
    Path(there, 'dependencies.pth').write_text(sysconfig.get_paths()['purelib'])
    return folder


@pytest.mark.slow
def test_the_demo_config_runs_from_another_folder(installed):
    environment = {'PATH': '/usr/bin:/bin', 'OMP_NUM_THREADS': '2'}

    def rs_mm(*arguments):
        return run(installed / 'env/bin/rs_mm', *arguments, cwd=installed, env=environment)

    where = run(
        installed / 'env/bin/python', '-c', 'import rs_mm; print(rs_mm.__file__)', cwd=installed
    )
    assert str(installed) in where
    assert 'train' in rs_mm()
    small = ('n_train=4', 'n_val=2', 'n_test=2', 'size=64')
    rs_mm('make_fake', 'levir_cd', 'data/demo_levir_cd', '--set', *small)
    settings = ('train_cfg.max_iters=2', 'train_cfg.val_interval=2')
    rs_mm('train', 'dsqnet_swin_demo', '--work-dir', 'w', '--cfg-options', *settings)
    assert (installed / 'w/iter_2.pth').is_file()
    rs_mm('test', 'dsqnet_swin_demo', 'w/iter_2.pth', '--out', 'm.json')
    assert (installed / 'm.json').is_file()
