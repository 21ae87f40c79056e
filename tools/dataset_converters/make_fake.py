"""Writes a small fake dataset in the layout of a real one.

python tools/dataset_converters/make_fake.py levir_cd data/LEVIR-CD --set n_train=64 size=256
"""

import argparse
import importlib
import os

# name on the command line -> module under rs_mm.datasets.fake, function
GENERATORS = {
    'aid': ('multilabel_images', 'make_aid'),
    'bigearthnet_v1': ('bigearthnet', 'make_bigearthnet_v1'),
    'bigearthnet_v2': ('bigearthnet', 'make_bigearthnet_v2'),
    'clcd': ('change_pairs', 'make_clcd'),
    'dfc15': ('multilabel_images', 'make_dfc15'),
    'dlrsd_5i': ('few_shot_scenes', 'make_dlrsd_5i'),
    'dsifn': ('change_pairs', 'make_dsifn'),
    'isaid_5i': ('few_shot_scenes', 'make_isaid_5i'),
    'levir_cd': ('change_pairs', 'make_levir_cd'),
    'pascal_5i': ('few_shot_scenes', 'make_pascal_5i'),
    'patternnet': ('patternnet', 'make_patternnet'),
    's2looking': ('change_pairs', 'make_s2looking'),
    'svcd': ('change_pairs', 'make_svcd'),
    'ucm': ('multilabel_images', 'make_ucm'),
    'whdld': ('multilabel_images', 'make_whdld'),
    'whu_cd': ('change_pairs', 'make_whu_cd'),
}


def parse_args():
    parser = argparse.ArgumentParser(description='Write a small fake dataset')
    parser.add_argument('name', choices=sorted(GENERATORS), help='layout to write')
    parser.add_argument('out', help='folder to write into, new or empty')
    parser.add_argument(
        '--set',
        nargs='+',
        default=[],
        metavar='KEY=INT',
        dest='options',
        help='arguments of the generator, e.g. n_train=64 size=256 seed=1',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: make(args.name, args.out, args.options))


def make(name, out, options):
    """Calls the generator ``name`` with ``KEY=INT`` options."""
    import inspect

    from rs_mm.errors import ConfigError

    module, function = GENERATORS[name]
    generator = getattr(importlib.import_module(f'rs_mm.datasets.fake.{module}'), function)
    known = [
        key
        for key, parameter in inspect.signature(generator).parameters.items()
        if isinstance(parameter.default, int)
    ]
    arguments = {}
    for option in options:
        key, _, value = option.partition('=')
        if key not in known or not value.lstrip('-').isdigit():
            raise ConfigError(
                f'--set {option}: expected KEY=INT with KEY one of {", ".join(known)}.'
            )
        arguments[key] = int(value)
        least = 0 if key in ('seed', 'by_scene') else 1
        if arguments[key] < least:
            raise ConfigError(f'--set {option}: {key} must be at least {least}.')
    if os.path.isdir(out) and os.listdir(out):
        raise ConfigError(
            f'{out} is not empty: it may be a real set, and files of two sets would mix; name '
            'another folder, or delete this one.'
        )
    generator(out, **arguments)
    print(f'wrote {name} to {out}')


if __name__ == '__main__':
    main()
