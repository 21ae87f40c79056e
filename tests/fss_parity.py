"""Loads the recorded cases of SCCNet into our model."""

import numpy as np
import torch

from rs_mm.converters.sccnet import convert_state
from tests import fill
from tests.parity import fill_state, load_case

MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
MAP_COUNTS = dict(resnet50=(4, 6, 3), resnet101=(4, 23, 3), vgg16=(3, 3, 1))


def case_state(arch):
    """The original network's deterministic weights, under the original names."""
    manifest, _ = load_case('sccnet', f'{arch}_state')
    skipped = set(manifest['integer_buffers'])
    return fill_state({k: v for k, v in manifest['state'].items() if k not in skipped})


def build_model(arch='resnet50', frozen=True, **head):
    """Our model with the weights of the cases, in evaluation mode."""
    from rs_mm.registry import MODELS

    model = MODELS.build(
        dict(
            type='rs_mm.FewShotSegmentor',
            backbone=dict(type='rs_mm.PreActivationBackbone', arch=arch, frozen=frozen),
            head=dict(type='rs_mm.SelfCrossCorrelationHead', in_channels=MAP_COUNTS[arch], **head),
            data_preprocessor=dict(type='rs_mm.FewShotDataPreprocessor'),
        )
    )
    state, _ = convert_state(case_state(arch))
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(k.endswith('num_batches_tracked') for k in missing.missing_keys)
    return model.eval()


def case_input(item, **names):
    """One input of a manifest, normalised and reshaped as its ``post`` says."""
    value = getattr(fill, item['kind'])(item['name'].format(**names), item['shape'])
    if 'channel-wise' in item['post']:
        value = (value - MEAN) / STD
    return torch.from_numpy(value)


def close(actual, expected, tolerance, subsample=None):
    """Asserts that the largest difference is within the tolerance."""
    difference = np.abs(actual.detach().numpy().astype(np.float64) - expected).max()
    assert difference <= tolerance, difference
