"""Every Python snippet of docs/ask.md runs as it is printed, with small models of the same kind."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rs_mm.launch import model_loading
from rs_mm.launch.config import load_config

pytest.importorskip('geopandas')
rasterio = pytest.importorskip('rasterio')

from rs_mm.apis.search import engine  # noqa: E402
from tests.weicom_toy import ARCH, PIPELINE  # noqa: E402

ROOT = Path(__file__).parents[2]
SNIPPETS = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/ask.md').read_text(), re.S)
SMALL = {
    'DSQNet': {
        'model.backbone.embed_dims': 32,
        'model.backbone.depths': [1, 1, 1, 1],
        'model.backbone.num_heads': [1, 2, 4, 8],
        'model.backbone.init_cfg': None,
        'model.decode_head.in_channels': [32, 64, 128, 256],
        'model.decode_head.channels': 32,
        'model.test_cfg.crop_size': (64, 64),
        'model.test_cfg.stride': (48, 48),
    },
    'sccnet': {
        'model.backbone.arch': 'resnet18',
        'model.backbone.init_cfg': None,
        'model.head.in_channels': (2, 2, 2),
        'test_dataloader.dataset.pipeline.1.size': 48,
        'randomness.seed': 11,
    },
    'sndl-bce': {
        'model.encoder.init_cfg': None,
        'test_dataloader.dataset.pipeline.1.ops.0.size': 32,
    },
    'weicom': {
        'model.arch': ARCH,
        'model.init_cfg': None,
        'test_dataloader.dataset.pipeline': PIPELINE,
    },
}


def small_config(path, options=None):
    """The config of this name with a network that answers in a moment."""
    kind = next(kind for kind in SMALL if Path(path).name.startswith(kind))
    # the demo's towers, for a name cannot become a dict by an option
    path = ROOT / 'configs/demo/weicom_tiny_patterncom.py' if kind == 'weicom' else path
    return load_config(path, SMALL[kind] | dict(options or {}))


def draw(folder):
    """The files that the page names."""
    rng = np.random.default_rng(0)

    def picture(*size):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        return small.resize(size, Image.Resampling.BICUBIC)

    for name in ('tank1', 'tank2', 'airport'):
        picture(48, 48).save(folder / f'{name}.{"jpg" if name == "airport" else "png"}')
    for name in ('tank1', 'tank2'):
        mask = np.zeros((48, 48), np.uint8)
        mask[10:30, 15:40] = 255
        Image.fromarray(mask).save(folder / f'{name}_mask.png')
    (folder / 'damaged.jpg').write_bytes(b'no image')
    (folder / 'archive').mkdir()
    place = rasterio.transform.from_origin(5e5, 4e6, 2, 2)
    profile = dict(driver='GTiff', width=96, height=96, count=3, dtype='uint8', crs='EPSG:32650')
    for name in ('before', 'after', 'harbour', 'archive/scene'):
        with rasterio.open(folder / f'{name}.tif', 'w', transform=place, **profile) as file:
            file.write(np.asarray(picture(96, 96)).transpose(2, 0, 1))
    picture(64, 64).save(folder / 'harbour_tile.png')


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A folder with what the page names: images, and checkpoints of small networks."""
    draw(tmp_path)
    names = [re.search(rf"'({kind}\S+?)'", ''.join(SNIPPETS))[1] for kind in SMALL]
    for module in (model_loading, engine):
        monkeypatch.setattr(module, 'load_config', small_config)
    monkeypatch.chdir(tmp_path)
    for name, file in zip(names, ('dsqnet.pth', 'sccnet.pth', 'grn.pth')):
        state = model_loading.load_model(name, device='cpu').model.state_dict()
        torch.save(dict(state_dict=state), file)
    return tmp_path


def test_every_snippet_runs(page, capsys):
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    names = {'__name__': 'docs_ask'}
    for number, snippet in enumerate(SNIPPETS, 1):
        exec(compile(snippet, f'docs/ask.md, snippet {number}', 'exec'), names)
    printed = capsys.readouterr().out
    assert (
        'sccnet_resnet50_256_200k_isaid_fold0 few-shot segmentation iSAID resnet50 None' in printed
    )
    assert 'damaged []' in printed and 'scene.tif (' in printed
    written = {path.name for path in (page / 'found').iterdir()}
    assert written >= {'harbour_mask.tif', 'harbour_polygons.gpkg', 'harbour_picture.png'}
    assert (page / 'changes/change_mask.tif').is_file()
    assert (page / 'found.geojson').is_file() and len(list((page / 'labels').glob('*.tif'))) == 17


def test_the_page_names_commands_that_exist():
    text = (ROOT / 'docs/ask.md').read_text()
    for tool in set(re.findall(r'tools/[\w/]+\.py', text)):
        assert (ROOT / tool).is_file(), tool
