"""Speed and peak memory of any config's model, or the speed of its data pipeline.

python tools/analysis_tools/benchmark.py CONFIG --shape 256 --threads 2 --train --out a.json
python tools/analysis_tools/benchmark.py CONFIG --sweep    # float32, AMP, channels last, compiled
python tools/analysis_tools/benchmark.py CONFIG --data --workers 4
"""

import argparse

from rs_mm.launch.options import add_config_options, add_device


def parse_args():
    parser = argparse.ArgumentParser(description="Measure a model's speed and memory")
    parser.add_argument('config', nargs='+', help='config files')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        default=[256],
        metavar='SIDE',
        help='sides of the square inputs, one run each (default: 256)',
    )
    parser.add_argument('--batch', type=int, default=1, help='samples per step (default: 1)')
    parser.add_argument(
        '--train', action='store_true', help='also a training step: forward, backward, optimizer'
    )
    add_device(parser)
    parser.add_argument('--threads', type=int, help='CPU threads (default: all)')
    parser.add_argument(
        '--dtype',
        default='float32',
        choices=['float32', 'bfloat16', 'float16'],
        help='autocast to this type (default: float32, no autocast)',
    )
    parser.add_argument('--channels-last', action='store_true', help='NHWC memory layout')
    parser.add_argument('--compile', action='store_true', help='torch.compile the model')
    parser.add_argument(
        '--sweep',
        nargs='?',
        const='all',
        choices=['all', 'eager'],
        help='measure float32, the half precisions and channels last in turn, and '
        '(not with `eager`) compiled, which takes minutes',
    )
    parser.add_argument(
        '--profile',
        action='store_true',
        help='on a GPU: also the time of a step by kind of kernel',
    )
    parser.add_argument(
        '--data',
        action='store_true',
        help='measure the data pipeline instead: '
        'samples per second of one worker, and the time of each step',
    )
    parser.add_argument(
        '--split',
        default='train',
        choices=['train', 'val', 'test'],
        help='whose data (default: train)',
    )
    parser.add_argument(
        '--workers',
        type=int,
        nargs='+',
        default=[],
        metavar='N',
        help='with --data: also the whole loader with this number of workers',
    )
    parser.add_argument(
        '--seconds', type=float, default=5, help='how long each measurement repeats (default: 5)'
    )
    add_config_options(parser)
    parser.add_argument('--out', metavar='FILE.json', help='also write the results to this file')
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: report_data(args) if args.data else report(args))


def report(args):
    from pathlib import Path

    import torch
    from prettytable import PrettyTable

    from rs_mm.analysis.step_benchmark import Setting, describe_machine, measure_in_turn
    from rs_mm.launch.config import load_config, prepare
    from rs_mm.launch.device import pick_device

    if args.threads:
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    machine = describe_machine(device)
    print(machine['text'])
    results = []
    for config in args.config:
        cfg = prepare(load_config(config, args.cfg_options))
        for side in args.shape:
            for train in [False, True] if args.train else [False]:
                settings = [
                    Setting(
                        height=side,
                        width=side,
                        batch=args.batch,
                        train=train,
                        device=device,
                        seconds=args.seconds,
                        profile=args.profile,
                        **variant,
                    )
                    for variant in variants(args, device)
                ]
                results += [
                    dict(config=config, **found) for found in measure_in_turn(cfg, settings)
                ]
    table = PrettyTable(
        [
            'config',
            'what',
            'how',
            'input',
            'batch',
            'ms per step',
            'spread',
            'per second',
            'GFLOP',
            'share of the matrix rate',
            'peak MiB',
        ]
    )
    table.align = 'r'
    table.align['config'] = 'l'
    for r in results:
        table.add_row(
            [
                Path(r['config']).stem,
                'train' if r['train'] else 'predict',
                name_of(r),
                f'{r["height"]} x {r["width"]}',
                r['batch'],
                f'{r["ms"]:.1f}',
                f'{r["ms_low"]:.1f}-{r["ms_high"]:.1f}',
                f'{r["per_second"]:.2f}',
                f'{r["gflop"]:.1f}',
                f'{100 * r["share_of_rate"]:.0f} %',
                f'{r["peak_mib"]:.0f}',
            ]
        )
    print(table)
    if args.profile:
        print(kernel_table(results))
    if args.out:
        from rs_mm.files import write_json

        write_json(args.out, dict(machine=machine, results=results))


def variants(args, device):
    """Returns the ways to run a model, as keywords of ``Setting``."""
    if not args.sweep:
        return [dict(dtype=args.dtype, channels_last=args.channels_last, compile=args.compile)]
    half, last = dict(dtype='bfloat16'), dict(channels_last=True)
    more = [dict(dtype='float16')] if device == 'cuda' else []
    eager = [{}, half, *more, last, {**half, **last}]
    compiled = [dict(compile=True), {**half, **last, 'compile': True}]
    return eager if args.sweep == 'eager' else eager + compiled


def name_of(result):
    """Returns a name such as ``bfloat16, channels last`` for a result."""
    parts = [
        result['dtype'],
        'channels last' * result['channels_last'],
        'compiled' * result['compile'],
    ]
    return ', '.join(part for part in parts if part)


def kernel_table(results):
    """Milliseconds of a GPU's work in a step, by kind."""
    from prettytable import PrettyTable

    kinds = [kind for kind in results[0]['kernels'] if kind != 'rate_of_products']
    table = PrettyTable(['what', 'how', 'ms per step', *kinds, 'products: TFLOP/s'])
    table.align = 'r'
    for r in results:
        table.add_row(
            [
                'train' if r['train'] else 'predict',
                name_of(r),
                f'{r["ms"]:.1f}',
                *(f'{r["kernels"][kind]:.1f}' for kind in kinds),
                f'{r["kernels"]["rate_of_products"]:.0f}',
            ]
        )
    return table


def report_data(args):

    from rs_mm.analysis.data_benchmark import measure_data
    from rs_mm.launch.config import load_config, prepare

    results = []
    for config in args.config:
        cfg = prepare(load_config(config, args.cfg_options))
        found = measure_data(cfg, args.split, args.seconds, args.workers)
        results.append(dict(config=config, split=args.split, **found))
        print(
            f'{config}: {found["type"]} of {found["samples"]} samples, '
            f'{found["per_second"]:.1f} per second of one worker'
        )
        for name, milliseconds in found['steps']:
            print(f'  {milliseconds:8.2f} ms  {name}')
        for workers, rate in found['loader'].items():
            print(f'  the whole loader with {workers} workers: {rate:.1f} per second')
    if args.out:
        from rs_mm.files import write_json

        write_json(args.out, results)


if __name__ == '__main__':
    main()
