"""Options that several commands share; the import does not need torch."""

from __future__ import annotations

import argparse


def add_config_options(parser: argparse._ActionsContainer) -> None:
    """Adds ``--cfg-options KEY=VALUE ...``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override keys of the config, e.g. test_dataloader.batch_size=4',
    )


def add_device(parser: argparse._ActionsContainer) -> None:
    """Adds ``--device``."""
    parser.add_argument('--device', help='cpu, cuda, ... (default: CUDA if available)')


def add_launcher(parser: argparse._ActionsContainer) -> None:
    """Adds ``--launcher``, and the rank that older launchers pass as an option."""
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)
