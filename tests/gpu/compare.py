"""Compares a GPU's results with the CPU's: python -m tests.gpu.compare SYSTEM [DEVICE]."""

import contextlib
import copy
import sys
from pathlib import Path

import torch

from rs_mm.analysis.complexity import build_model
from rs_mm.engine.compiling import compile_parts
from rs_mm.launch.config import load_config
from rs_mm.models.memories import FeatureBank

DEMO = Path(__file__).parents[2] / 'configs/demo'
CONFIGS = dict(
    dsqnet=(
        'dsqnet_swin_demo',
        {'model.backbone.drop_path_rate': 0.0, 'model.decode_head.dropout_ratio': 0.0},
    ),
    sccnet=('sccnet_fake_isaid_fold0', {}),
    oml=('oml_r18_64_12e_fake_ucm', {}),
    grn=('grn_sndl-bce_demo', {}),
    weicom=('weicom_tiny_patterncom', {}),
)


def main(system, device='cuda'):
    torch.backends.cudnn.allow_tf32 = False
    name, options = CONFIGS[system]
    cfg = load_config(DEMO / f'{name}.py', options)
    torch.manual_seed(0)
    model = build_model(cfg)
    for part in model.modules():
        if isinstance(part, FeatureBank):
            part.set_labels(torch.randint(2, part.labels.shape))
    batch = model.example_inputs(4, 64, 64)
    results = {}
    for where in ('cpu', device):
        for how in ('plain', 'fast'):
            results[where, how] = run(
                copy.deepcopy(model).to(where),
                copy.deepcopy(batch),
                where,
                how == 'fast',
                cfg.get('training_free', False),
            )
    wanted = results['cpu', 'plain']
    for key, found in results.items():
        # bfloat16 has 8 bits of mantissa
        tolerance = 1e-3 if key[1] == 'plain' else 0.1
        for part, value in wanted.items():
            error = (found[part] - value).norm() / value.norm().clamp(min=1e-6)
            print(*key, part, f'{error:.1e}')
            assert error < tolerance, f'{key} {part}: {error}'


def run(model, batch, where, fast, training_free):
    """Output, loss and gradients; ``fast``: compiled, channels-last, bfloat16."""
    if fast:
        model = model.to(memory_format=torch.channels_last)
        if where == 'cuda':
            compile_parts(model)
    context = torch.autocast(where, torch.bfloat16) if fast else contextlib.nullcontext()
    found = {}
    with torch.no_grad(), context:
        output = model(**model.data_preprocessor(batch, False), mode='tensor')
    for name, value in output.items() if isinstance(output, dict) else [('output', output)]:
        if value is not None:
            found[name] = value.float().cpu()
    if training_free:
        return found
    model.train()
    with context:
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    found['loss'] = loss.detach().float().cpu()
    found['gradients'] = torch.stack(
        [p.grad.float().norm().cpu() for p in model.parameters() if p.grad is not None]
    )
    return found


if __name__ == '__main__':
    main(*sys.argv[1:])
