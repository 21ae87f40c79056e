"""Parameters and multiply-adds: python tools/analysis_tools/get_flops.py CONFIG --shape 512 512."""

import argparse

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description="Count a model's parameters and multiply-adds")
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        default=[512],
        metavar='SIDE',
        help='height and width, or one side of a square (default: 512)',
    )
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: report(args), args)


def report(args):
    from prettytable import PrettyTable

    from rs_mm.analysis.complexity import build_model, count_flops, count_parameters, example_batch
    from rs_mm.launch.config import load_config, prepare

    height, width = args.shape[0], args.shape[-1]
    cfg = prepare(load_config(args.config, args.cfg_options))
    model = build_model(cfg)
    flops, flops_of = count_flops(model, example_batch(model, 1, height, width))
    parameters, parameters_of = count_parameters(model)
    table = PrettyTable(['part', 'parameters', 'GMACs'])
    table.align = 'r'
    table.align['part'] = 'l'
    for part in {**parameters_of, **flops_of}:
        table.add_row(
            [part, f'{parameters_of.get(part, 0):,}', f'{flops_of.get(part, 0) / 1e9:.2f}']
        )
    table.add_row(['whole model', f'{parameters:,}', f'{flops / 1e9:.2f}'])
    print(f'{args.config}, one input of {height} x {width}')
    print(table)


if __name__ == '__main__':
    main()
