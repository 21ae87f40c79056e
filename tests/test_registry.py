"""Parts are built from a dict without a run, a config file or a scope that somebody set."""

import re
import subprocess
import sys

import pytest
from mmengine.registry import DefaultScope

from rs_mm.errors import ArgumentError, ConfigError
from rs_mm.registry import DATASETS, MODELS


def test_a_whole_model_is_built_in_a_notebook():
    program = """
from rs_mm.errors import ArgumentError
from rs_mm.registry import DATASETS, MODELS
model = MODELS.build(dict(
    type='SiamEncoderDecoder',
    backbone=dict(type='SwinTransformer', embed_dims=24, depths=[1, 1, 1, 1]),
    neck=dict(type='FeatureFusionNeck', policy='concat'),
    decode_head=dict(
        type='DSQNetHead', in_channels=[24, 48, 96, 192], channels=16, dsp=dict(type='DSP'),
        bmq=dict(type='BMQ'), norm_cfg=dict(type='BN'),
        loss_decode=dict(type='mmseg.CrossEntropyLoss')),
    test_cfg=dict(mode='whole')))
import pytest
from mmengine.registry import DefaultScope
scope = DefaultScope.get_current_instance()
assert scope is None or scope.scope_name == 'mmengine', 'the build has set a global scope'
"""
    subprocess.run([sys.executable, '-c', program], check=True)


def test_the_scope_of_a_run_holds():
    seen = []

    class Part:
        def __init__(self):
            seen.append(DefaultScope.get_current_instance().scope_name)

    with DefaultScope.overwrite_default_scope('mmseg'):
        MODELS.build(dict(type=Part))
    with DefaultScope.overwrite_default_scope('mmengine'):
        MODELS.build(dict(type=Part))
    assert seen == ['mmseg', 'rs_mm']


def test_a_wrong_argument_is_named_with_the_class(monkeypatch):
    monkeypatch.setattr(DefaultScope, 'get_current_instance', classmethod(lambda cls: None))
    for registry, config, words in (
        (DATASETS, dict(type='BigEarthNetDataset', db_path='x'), "BigEarthNetDataset.*'?db_path"),
        (MODELS, dict(type='FeatureBank', size=3, dimm=2), "`dimm`; did you mean 'dim'"),
    ):
        with pytest.raises(ArgumentError, match=words):
            registry.build(config)


def test_an_unknown_type_is_a_sentence_with_a_close_name(monkeypatch):
    monkeypatch.setattr(DefaultScope, 'get_current_instance', classmethod(lambda cls: None))
    for config in (
        dict(type='ImageEmbeder'),
        dict(type='ImageEmbedder', encoder=dict(type='TimmEncodr'), head={}),
    ):
        with pytest.raises(KeyError) as caught:  # what mmengine raises
            MODELS.build(config)
        assert isinstance(caught.value, ConfigError)
        assert re.search(r"did you mean '(ImageEmbedder|TimmEncoder)'", str(caught.value))
        assert '?.' not in str(caught.value)
