"""Each system's network gives the same loss and predictions when torch.compile traces it."""

import pytest
import torch
from mmengine.registry import init_default_scope
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from rs_mm.analysis.complexity import build_model, example_batch
from rs_mm.engine.compiling import compile_parts
from rs_mm.launch.config import load_config
from rs_mm.models.heads.channels_last_norm import GroupNormReLU
from rs_mm.models.memories import FeatureBank

CONFIGS = dict(
    dsqnet=(
        'configs/demo/dsqnet_swin_demo.py',
        {
            'model.backbone.drop_path_rate': 0.0,
            'model.decode_head.dropout_ratio': 0.0,
            'model.test_cfg.mode': 'whole',
        },
    ),
    sccnet=('configs/demo/sccnet_fake_isaid_fold0.py', {}),
    oml=('configs/demo/oml_r18_64_12e_fake_ucm.py', {'model.encoder.model': 'test_resnet'}),
    grn=('configs/demo/grn_sndl-bce_demo.py', {'model.encoder.model': 'test_resnet'}),
)


@pytest.mark.slow
@pytest.mark.parametrize('system', CONFIGS)
def test_traced_equals_eager(system):
    path, options = CONFIGS[system]
    cfg = load_config(path, options)
    init_default_scope('rs_mm')
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        torch._dynamo.reset()
        model = build_model(cfg).train()
        for part in model.modules():
            if isinstance(part, FeatureBank):
                part.set_labels(torch.randint(2, part.labels.shape))
        batch = example_batch(model, 4, 64, 64)
        counter = CompileCounterWithBackend('aot_eager')
        if compiled:
            compile_parts(model, dict(backend=counter))
        traced = []
        for name in 'abc':  # what differs from batch to batch must not be traced again and again
            for sample in batch['data_samples']:
                sample.set_metainfo(dict(img_path=name, name=name, query_name=name))
            model.zero_grad()
            data = model.data_preprocessor(batch, True)
            loss, _ = model.parse_losses(model(**data, mode='loss'))
            loss.backward()
            traced.append(counter.frame_count)
        assert traced[1] == traced[2] and (traced[0] > 0) == compiled
        assert not counters['graph_break']
        gradient = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None])
        losses.append((loss.detach(), gradient))
    torch.testing.assert_close(*[loss for loss, _ in losses], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*[gradient for _, gradient in losses], rtol=1e-2, atol=1e-4)


def test_group_norm_keeps_its_gradient_when_traced():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), GroupNormReLU(4, 8), torch.nn.Linear(8, 8))
    x = torch.randn(2, 5, 5, 8)

    def gradients(function):
        net.zero_grad()
        function(x).square().sum().backward()
        return [p.grad.clone() for p in net.parameters()]

    eager = gradients(net)
    torch.testing.assert_close(gradients(torch.compile(net, backend='aot_eager')), eager)
