"""Prints a config with its bases merged: python tools/analysis_tools/print_config.py CONFIG."""

import argparse

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description='Print a config with its bases merged')
    parser.add_argument('config', help='config file')
    add_config_options(parser)
    parser.add_argument(
        '--out', metavar='FILE', help='write the config to this file (.py, .json, .yml) instead'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli
    from rs_mm.launch.config import load_config

    def print_config():
        cfg = load_config(args.config, args.cfg_options)
        if args.out:
            cfg.dump(args.out)
        else:
            print(cfg.pretty_text)

    run_cli(print_config)


if __name__ == '__main__':
    main()
