"""The adaptations of mmcv, mmengine and torch."""

import subprocess
import sys

import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from rs_mm import compat
from rs_mm.checkpoint import load_file


@pytest.fixture(autouse=True)
def _as_in_a_run():
    compat.apply_for_runs()


def test_compiled_ops_import_and_say_what_to_install():
    mmcv = pytest.importorskip('mmcv')
    from mmcv.ops import SigmoidFocalLoss  # noqa: F401  the import must pass
    from mmengine.utils.dl_utils.misc import mmcv_full_available

    if mmcv_full_available():
        pytest.skip(f'mmcv {mmcv.__version__} has its compiled ops')
    from mmcv.ops import nms

    with pytest.raises(RuntimeError, match='mmcv op `nms`: .*pip install "mmcv>=2.1.0'):
        nms(torch.rand(2, 4), torch.rand(2), 0.5)


def test_what_costs_no_torch():
    code = (
        'import sys, rs_mm, rs_mm.apis, rs_mm.rasters, rs_mm.exported.vectors, '
        'rs_mm.launch.command_line, rs_mm.launch.config_files, rs_mm.apis.change.folders, '
        'rs_mm.apis.paths\n'
        "heavy = {'torch', 'mmengine', 'mmcv', 'mmseg'}\n"
        "assert not heavy & set(sys.modules) and 'PIL' not in sys.modules, sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_mmengine_state_loads_as_data(tmp_path):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(dict(log=buffer), tmp_path / 'a.pth')
    assert load_file(tmp_path / 'a.pth')['log'].mean() == 1.5


class Gadget:
    """Pickles as a call of getattr, as an attack would."""

    def __init__(self, owner, name):
        self.arguments = owner, name

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize('owner, name', [(HistoryBuffer, '__init__'), (torch.Tensor, 'min')])
def test_getattr_in_a_checkpoint_reaches_the_statistics_alone(tmp_path, owner, name):
    torch.save(Gadget(owner, name), tmp_path / 'a.pth')
    with pytest.raises(Exception, match='no use for|Unsupported|not allowed'):
        load_file(tmp_path / 'a.pth')
    torch.save(Gadget(HistoryBuffer, 'min'), tmp_path / 'b.pth')
    assert load_file(tmp_path / 'b.pth') is HistoryBuffer.min


def test_downloads_load_as_data(tmp_path):
    from mmengine.runner import checkpoint

    for name, content in (('a', HistoryBuffer([1.0], [1])), ('b', Gadget(torch.Tensor, 'min'))):
        torch.save(content, tmp_path / f'{name}.pth')
    url = f'file://{tmp_path}/a.pth'
    assert checkpoint.load_url(url, model_dir=str(tmp_path / 'to')).mean() == 1
    with pytest.raises(Exception, match='no use for'):
        checkpoint.load_url(url.replace('a.pth', 'b.pth'), model_dir=str(tmp_path / 'to'))


def test_is_installed_without_pkg_resources():
    from mmengine.utils import get_installed_path, is_installed

    assert is_installed('mmcv') and not is_installed('surely_not_there')
    assert get_installed_path('mmseg').endswith('mmseg')


def test_is_installed_where_setuptools_has_no_pkg_resources(monkeypatch):
    """setuptools 81 and later; mmengine reloads the module each time it asks."""
    import importlib.machinery

    from mmengine.utils import is_installed

    class WithoutIt:
        find_distributions = importlib.machinery.PathFinder.find_distributions

        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.partition('.')[0] == 'pkg_resources':
                return None
            return importlib.machinery.PathFinder.find_spec(name, path, target)

    monkeypatch.setattr(sys, 'meta_path', [WithoutIt])
    for name in [name for name in sys.modules if name.partition('.')[0] == 'pkg_resources']:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError):
        is_installed('mmcv')
    compat._provide_pkg_resources()
    assert is_installed('mmengine') and not is_installed('surely_not_there')
    monkeypatch.delitem(sys.modules, 'pkg_resources')


def test_freed_memory_is_kept_where_glibc_is():
    import platform

    from rs_mm.engine.host_memory import keep_freed_memory

    assert keep_freed_memory() == (platform.libc_ver()[0] == 'glibc')


def test_import_changes_nothing_for_others():
    program = """
import torch
import rs_mm, rs_mm.engine, rs_mm.models, rs_mm.datasets, rs_mm.apis
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.runner import CheckpointLoader, activation_checkpointing, checkpoint
from torch.utils.checkpoint import checkpoint as plain
assert type(get_file_backend('a.pth')) is LocalBackend
assert not hasattr(checkpoint.load_url, 'keywords')
assert activation_checkpointing.checkpoint is plain
from mmengine.logging.history_buffer import HistoryBuffer
assert HistoryBuffer not in torch.serialization.get_safe_globals()
assert CheckpointLoader._schemes[''].__module__.startswith('mmengine')
"""
    subprocess.run([sys.executable, '-c', program], check=True)
