"""Packages of ours import what is asked for, and nobody can tell but by the time it takes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import Registry

from rs_mm import lazy_names, registry

ROOMS = (
    'rs_mm.models',
    'rs_mm.engine',
    'rs_mm.datasets',
    'rs_mm.evaluation',
    'rs_mm.visualization',
)
OURS = {name: value for name, value in vars(registry).items() if isinstance(value, Registry)}


def run(program):
    return subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)


def test_a_registry_imports_what_is_asked_for():
    done = run("""
import sys
import rs_mm.models, rs_mm.datasets, rs_mm.engine, rs_mm.evaluation, rs_mm.visualization
assert 'torch' not in sys.modules
from rs_mm.registry import HOOKS, METRICS, MODELS, TASK_UTILS
MODELS.get('SNDLoss'), METRICS.get('KNNMetric'), TASK_UTILS.get('rs_mm.WeiCom')
heavy = {'mmseg.models', 'timm', 'open_clip', 'scipy', 'torchvision', 'rs_mm.models.embedder'}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
from rs_mm.models import *
from rs_mm.models.backbones import *
assert SwinTransformer is MODELS.get('SwinTransformer') is MODELS.get('rs_mm.SwinTransformer')
assert MODELS.get('mmseg.SwinTransformer') is not SwinTransformer
assert 'ViTAE_Window_NoShift_basic' in MODELS.module_dict or MODELS.get('ViTAE') is None
assert 'ViTAE_Window_NoShift_basic' in MODELS.module_dict  # a wrong name has imported all
""")
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_module_can_be_the_first():
    """Without its package's imports a module meets circles that the usual order hides."""
    done = run(f"""
import importlib, os, sys
from pathlib import Path
import rs_mm
import mmcv.transforms, mmengine.runner, mmseg.models, mmseg.datasets, open_clip, rasterio, torch
root = Path(rs_mm.__file__).parent
sys.stderr = open(os.devnull, 'w')
for file in sorted(root.rglob('*.py')):
    name = '.'.join(file.relative_to(root.parent).with_suffix('').parts).removesuffix('.__init__')
    if name.startswith({ROOMS!r}):
        if os.fork() == 0:
            try:
                importlib.import_module(name)
            except BaseException as error:
                print(name, type(error).__name__, error, flush=True)
            os._exit(0)
        os.wait()
""")
    assert done.returncode == 0, done.stderr[-2000:]
    assert not done.stdout, done.stdout


def test_every_registered_name_has_its_home():
    """A part outside the places of its registry would not be found; one without a home is slow."""
    root = Path(lazy_names.__file__).parent
    seen = 0
    for file in root.rglob('*.py'):
        module = '.'.join(file.relative_to(root.parent).with_suffix('').parts)
        text = file.read_text(encoding='utf-8')
        for name, part in re.findall(
            r'^@(\w+)\.register_module.*\n(?:@.*\n)*(?:class|def) (\w+)', text, re.M
        ):
            homes = [lazy_names.homes_of(place).get(part, []) for place in OURS[name]._locations]
            assert module in sum(homes, []), (name, part, module)
            seen += 1
    assert seen > 100


def test_a_name_that_is_nowhere():
    import rs_mm.models

    with pytest.raises(AttributeError, match="'rs_mm.models' has no attribute 'Swin'"):
        rs_mm.models.Swin  # noqa: B018
