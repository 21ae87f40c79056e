"""The pair losses of GRN's ablation compare the samples of all processes."""

import pytest
import torch

from rs_mm.registry import MODELS
from tests.distributed import run_processes

LOSSES = ('PairContrastiveLoss', 'PairHingeLoss', 'SquaredTripletLoss')


def loss_and_gradient(embedding, labels, name, mine=slice(None)):
    embedding = embedding[mine].clone().requires_grad_()
    loss = MODELS.build(dict(type=name))(embedding, None, labels[mine])
    loss.backward()
    return loss.detach(), embedding.grad


def share(rank, embedding, labels):
    mine = slice(0, 5) if rank == 0 else slice(5, 8)
    return {name: loss_and_gradient(embedding, labels, name, mine) for name in LOSSES}


def test_equal_to_one_process(tmp_path):
    torch.manual_seed(0)
    embedding = torch.nn.functional.normalize(torch.randn(8, 4))
    labels = (torch.rand(8, 6) > 0.7).float()
    shares = run_processes(share, tmp_path, embedding, labels)
    for name in LOSSES:
        loss, gradient = loss_and_gradient(embedding, labels, name)
        assert loss > 0
        for part in shares:
            assert float(part[name][0]) == pytest.approx(float(loss), rel=1e-6)
        # DistributedDataParallel takes the mean over the processes
        torch.testing.assert_close(torch.cat([part[name][1] for part in shares]) / 2, gradient)
