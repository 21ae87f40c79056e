"""list_models names every config."""

from pathlib import Path

from rs_mm.apis import list_models
from rs_mm.launch.config import load_config

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_every_config_is_named_with_its_task():
    found = {model.name: model for model in list_models()}
    files = [path for path in CONFIGS.glob('*/*.py') if path.parent.name != '_base_']
    assert set(found) == {path.stem for path in files}
    tasks = {model.task for model in found.values()}
    assert {
        'change detection',
        'few-shot segmentation',
        'multi-label retrieval',
        'multi-label classification and retrieval',
        'composed retrieval',
    } <= tasks
    one = found['sccnet_resnet101_256_200k_dlrsd_fold0']
    assert (one.backbone, one.dataset, one.weights) == ('resnet101', 'DLRSD', None)
    clip = found['weicom_clip-vit-l14_patterncom']
    assert clip.task == 'composed retrieval' and clip.weights
    assert load_config(one.name).model.backbone.arch == 'resnet101'


def test_words_choose():
    names = [model.name for model in list_models('GRN aid resnet50')]
    assert names == [] or all('resnet50' in name and 'aid' in name for name in names)
    chosen = list_models('few-shot dlrsd vgg16')
    assert len(chosen) == 3 and all('vgg16' in model.name for model in chosen)
