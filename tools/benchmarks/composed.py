"""Measures composed retrieval: evaluation against one pair at a time, and feature extraction.

python tools/benchmarks/composed.py evaluation
python tools/benchmarks/composed.py extraction CONFIG --images 512
"""

import argparse
import tempfile
import time
from pathlib import Path


def parse_args():
    parser = argparse.ArgumentParser(description='Benchmark composed retrieval')
    parser.add_argument('part', choices=['evaluation', 'extraction'])
    parser.add_argument('config', nargs='?', help='for extraction: a config of configs/weicom')
    parser.add_argument(
        '--images', type=int, help='size of the archive (default: 30400, or 512 for extraction)'
    )
    parser.add_argument('--dim', type=int, default=768, help='features per image (default: 768)')
    parser.add_argument(
        '--pairs',
        type=int,
        default=1200,
        help='(image, text) pairs evaluated at once (default: 1200)',
    )
    parser.add_argument(
        '--single-pairs', type=int, default=12, help='pairs evaluated one at a time (default: 12)'
    )
    parser.add_argument('--threads', type=int, default=2, help='CPU threads (default: 2)')
    parser.add_argument('--device', default='cpu', help='for evaluation (default: cpu)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='for extraction: overrides, e.g. model.init_cfg=None for random weights',
    )
    return parser.parse_args()


def example(images, dim, pairs, generator):
    """Makes an archive, and queries of four classes of 400 listed images with four values each.

    Every query image has queries with its three other values.
    """
    import torch
    import torch.nn.functional as F

    from rs_mm.retrieval.composed import QuerySet

    prompts = [f'value {i}' for i in range(4)]
    features = F.normalize(
        torch.randn(images, dim, generator=generator)
        + 0.6
        * torch.randn(38, dim, generator=generator).repeat_interleave(-(-images // 38), 0)[:images]
    )
    text = F.normalize(torch.randn(len(prompts), dim, generator=generator) + features.mean(0))
    listed = torch.randperm(images, generator=generator)[:1600].view(16, 100)  # (class, value)
    own = torch.randint(0, 16, (-(-pairs // 3),), generator=generator)
    rows = torch.randint(0, 100, own.shape, generator=generator)
    images = listed[own, rows].repeat_interleave(3)[:pairs]
    other = (own[:, None] % 4 + torch.arange(1, 4)).flatten()[:pairs] % 4
    groups = (own // 4).repeat_interleave(3)[:pairs] * 4 + other
    queries = QuerySet('example', images, prompts, other, list(listed), groups, [''] * pairs)
    return queries, features, text


def one_at_a_time(queries, pair, features, text, fusions, ks):
    """Evaluates one pair without sharing: similarities, and a sort per method."""
    import numpy as np

    image_similarity = features[queries.images[pair]] @ features.T
    text_similarity = text[queries.texts[pair]] @ features.T
    relevant = np.zeros(len(features), bool)
    relevant[queries.answers[queries.groups[pair]]] = True
    rows = []
    for fusion in fusions:
        order = fusion(image_similarity, text_similarity).argsort(descending=True).numpy()
        hits = relevant[order]
        so_far, total = hits.cumsum(), hits.sum()
        precision = so_far / np.arange(1, len(hits) + 1)
        rows.append(
            [
                *(so_far[k - 1] / total for k in ks),
                *(precision[k - 1] for k in ks),
                precision[hits].mean(),
            ]
        )
    return np.array(rows)


def peak_memory(reset=False):
    """Returns the highest resident memory of this process since its start or a reset, in MiB
    (Linux)."""
    if reset:
        Path('/proc/self/clear_refs').write_text('5')
    line = next(
        line
        for line in Path('/proc/self/status').read_text().splitlines()
        if line.startswith('VmHWM')
    )
    return int(line.split()[1]) / 1024


def evaluation(args):
    import numpy as np
    import torch

    from rs_mm.retrieval.composed import evaluate_queries
    from rs_mm.retrieval.fusion import AverageFusion, ImageOnly, TextOnly, WeiCom

    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    queries, features, text = example(args.images or 30400, args.dim, args.pairs, generator)
    fusions, ks = [ImageOnly(), TextOnly(), AverageFusion(), WeiCom(0.5)], (5, 10, 15, 20)
    before = peak_memory(reset=True)
    together = evaluate_queries(queries, features, text, fusions, ks)  # warms up
    memory = peak_memory() - before
    wall, cpu = dict(alone=[], together=[]), dict(alone=[], together=[])

    def note(which, start, pairs):
        wall[which].append(1e3 * (time.perf_counter() - start[0]) / pairs)
        cpu[which].append(1e3 * (time.process_time() - start[1]) / pairs)

    moved = features.to(args.device), text.to(args.device)
    for pair in range(args.single_pairs):
        start = time.perf_counter(), time.process_time()
        alone = one_at_a_time(queries, pair, features, text, fusions, ks)
        note('alone', start, 1)
        np.testing.assert_allclose(together[:, pair], alone, atol=2e-3)
        if pair % 4 == 0:  # in turns, so both have the same load of the machine
            start = time.perf_counter(), time.process_time()
            together = evaluate_queries(queries, *moved, fusions, ks)
            note('together', start, args.pairs)
    alone, together = np.median(wall['alone']), np.median(wall['together'])
    alone_cpu, together_cpu = np.median(cpu['alone']), np.median(cpu['together'])
    print(
        f'{len(features)} images x {args.dim}, {args.threads} threads, {len(fusions)} methods, '
        f'{args.pairs} pairs, peak memory of the evaluation {memory:.0f} MiB\n'
        f'one pair at a time, a sort per method: {alone:8.2f} ms per pair '
        f'({alone_cpu:.2f} ms of CPU time)\n'
        f'all pairs, ranks counted ({args.device}):     {together:8.3f} ms per pair '
        f'({together_cpu:.3f} ms of CPU time)\n'
        f'ratio {alone / together:.0f} ({alone_cpu / together_cpu:.0f} in CPU time); the 41 to '
        f'50 ms of the official evaluation are {41 / together:.0f} to {50 / together:.0f} times '
        'as long'
    )


def extraction(args):
    import numpy as np
    from mmengine.logging import MMLogger
    from PIL import Image

    from rs_mm.apis import ImageSearch

    MMLogger.get_instance('benchmark')
    count, rng = args.images or 512, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / 'images').mkdir()
        for i in range(count):
            coarse = Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8))
            coarse.resize((256, 256), Image.BICUBIC).save(f'{folder}/images/{i:06d}.jpg')
        # the log line of the extraction is the result
        ImageSearch(
            f'{folder}/images', args.config, index_dir=f'{folder}/index', options=args.cfg_options
        )


def main():
    args = parse_args()
    from rs_mm.errors import ConfigError
    from rs_mm.launch.command_line import run_cli

    def run():
        if args.part == 'extraction' and not args.config:
            raise ConfigError(
                'extraction needs a config, e.g. configs/weicom/weicom_clip-vit-l14_patterncom.py.'
            )
        evaluation(args) if args.part == 'evaluation' else extraction(args)

    run_cli(run)


if __name__ == '__main__':
    main()
