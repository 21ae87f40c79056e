"""Two processes hold the same memory as one with the joint batch."""

import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from rs_mm.registry import MODELS

STEPS, ROWS, DIM = 3, 12, 4


def _loss():
    torch.manual_seed(1)
    bank = dict(type='FeatureBank', size=ROWS, dim=DIM, num_classes=3)
    loss = MODELS.build(dict(type='SNDLoss', memory=bank))
    loss.memory.set_labels((torch.rand(ROWS, 3) < 0.5).float())
    return loss


def _batches():
    generator = torch.Generator().manual_seed(2)
    for _ in range(STEPS):
        index = torch.randperm(ROWS, generator=generator)[:5]
        index[4] = index[1]  # a row that both processes hold
        yield torch.randn(5, DIM, generator=generator), index


def _work(rank, folder):
    torch.set_num_threads(1)
    torch_dist.init_process_group(
        'gloo', init_method=f'file://{folder}/sync', rank=rank, world_size=2
    )
    loss = _loss()
    if rank == 1:  # as after another seed: rank 0's memory counts
        loss.memory.features.uniform_()
    loss.memory.synchronize()
    part = slice(0, 3) if rank == 0 else slice(3, 5)  # uneven, as a last batch may be
    for raw, index in _batches():
        loss(raw[part].requires_grad_(), None, None, index[part])
    torch.save(loss.memory.features, f'{folder}/rank{rank}.pt')
    torch_dist.destroy_process_group()


def test_memory_is_the_same_on_every_process(tmp_path):
    mp.spawn(_work, (str(tmp_path),), nprocs=2)
    joint = _loss()
    for raw, index in _batches():
        joint(raw.requires_grad_(), None, None, index)
    for rank in range(2):
        features = torch.load(tmp_path / f'rank{rank}.pt', weights_only=True)
        torch.testing.assert_close(features, joint.memory.features, rtol=0, atol=0)


def test_of_repeated_rows_the_last_stays():
    bank = _loss().memory
    old, rows = bank.features[2].clone(), F.normalize(torch.randn(3, DIM))
    bank.update(rows, torch.tensor([2, 5, 2]))
    torch.testing.assert_close(bank.features[2], F.normalize(old * 0.5 + rows[2] * 0.5, dim=0))
