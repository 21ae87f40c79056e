"""A small random CLIP and what goes with it, for the tests of composed retrieval."""

import torch

ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, layers=1, width=32, head_width=16, patch_size=16),
    text_cfg=dict(context_length=77, vocab_size=49408, width=16, heads=2, layers=1),
)
PIPELINE = [
    dict(type='LoadRGBImage'),
    dict(type='OpenCLIPPreprocess', size=32),
    dict(type='PackEmbeddingInputs'),
]


def tiny(**kwargs):
    from rs_mm.models.composed_retriever import ComposedRetriever

    torch.manual_seed(0)
    return ComposedRetriever(ARCH, **kwargs).eval()


def options(root, cache):
    """Overrides that turn the demo config into one for ``root``."""
    return {
        'model.arch': ARCH,
        'test_dataloader.dataset.data_root': str(root),
        'test_dataloader.dataset.pipeline': PIPELINE,
        'test_dataloader.batch_size': 16,
        'test_evaluator.queries.data_root': f'{root}/PatternCom',
        'test_evaluator.lambdas': [0.3, 0.6],
        'test_cfg.cache_dir': str(cache),
    }
