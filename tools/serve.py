"""Opens a page in the browser: search an archive, view changes, find a class by examples.

python tools/serve.py INDEX --config CONFIG
python tools/serve.py INDEX --archive FOLDER --config CONFIG --weights CKPT --changes DIR
"""

import argparse
from pathlib import Path

from rs_mm.launch.options import add_config_options, add_device

CONFIG = Path(__file__).parents[1] / 'configs/weicom/weicom_clip-vit-l14_patterncom.py'


def parse_args():
    parser = argparse.ArgumentParser(
        description='Serve a page for one archive. Nothing leaves this machine; only this machine '
        'is served unless --host says otherwise.'
    )
    parser.add_argument(
        'index',
        metavar='INDEX',
        help='DIR, lance://DIR, milvus://FILE.db or milvus+http://HOST:19530',
    )
    parser.add_argument('--archive', metavar='DIR', help='first update the index with this folder')
    parser.add_argument('--metadata', metavar='FILE.csv')
    parser.add_argument('--config', default=str(CONFIG), metavar='FILE')
    parser.add_argument('--weights', metavar='FILE')
    parser.add_argument('--bands', type=int, nargs=3, metavar='B')
    parser.add_argument('--changes', metavar='DIR', help='what tools/predict_change.py wrote there')
    parser.add_argument(
        '--dates', nargs=2, metavar='DIR', help='folders of the images of date 1 and date 2'
    )
    parser.add_argument(
        '--fewshot',
        nargs=2,
        metavar=('CONFIG', 'CKPT'),
        help='few-shot model for the tab with examples',
    )
    parser.add_argument('--host', default='127.0.0.1', help='address (default: 127.0.0.1)')
    parser.add_argument('--port', type=int, help='default: the first free one from 7860')
    parser.add_argument(
        '--auth',
        metavar='FILE',
        help='a file of lines NAME:PASSWORD; the page then asks for a login',
    )
    parser.add_argument(
        '--uploads', type=int, default=50, metavar='MB', help='largest upload (default: 50)'
    )
    add_device(parser)
    add_config_options(parser)
    return parser.parse_args()


def start(args):
    from rs_mm.apis import FewShotSegmenter, ImageSearch
    from rs_mm.serve import Settings, build_page, serve
    from rs_mm.serve.app import gradio, read_users

    gradio()  # a missing package is reported before the model is built
    users = {} if args.auth is None else read_users(args.auth)
    settings = Settings(args.host, args.port, args.uploads, users=users)
    engine = ImageSearch(
        args.archive,
        args.config,
        args.weights,
        bands=args.bands,
        device=args.device,
        options=args.cfg_options,
        index=args.index,
        metadata=args.metadata,
    )
    segmenter = args.fewshot and FewShotSegmenter(*args.fewshot, device=args.device)
    serve(build_page(engine, args.changes, args.dates, segmenter), settings)


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: start(args))


if __name__ == '__main__':
    main()
