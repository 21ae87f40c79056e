"""Runs a function in several gloo processes; used by tests of what spans processes."""

import os
import socket
import sys
import traceback

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _process(rank, world, port, function, arguments, folder):
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world),
        LOCAL_RANK=str(rank),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    import rs_mm  # noqa: F401

    dist.init_process_group('gloo', rank=rank, world_size=world)
    try:
        torch.save(function(rank, *arguments), folder / f'{rank}.pt')
    except Exception:
        traceback.print_exc()
        raise
    # as the tools do: gloo's threads now and then abort a process that is done
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def run_processes(function, folder, *arguments, world=2):
    """Returns what ``function(rank, *arguments)`` returned in each process.

    Args:
        function (callable): defined at the top of a module; returns tensors, numbers or strings
            in lists and dicts.
        folder (Path): an empty folder for the results.
    """
    mp.spawn(_process, (world, free_port(), function, arguments, folder), nprocs=world)
    return [torch.load(folder / f'{rank}.pt', weights_only=True) for rank in range(world)]
