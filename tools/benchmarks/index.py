"""Measures CPU time of building and searching an index, memory, and recall.

The CPU time of all threads is measured, because other load on the machine changes it little.

python tools/benchmarks/index.py exact --vectors 10000
python tools/benchmarks/index.py lance --vectors 1000000 --dim 512
python tools/benchmarks/index.py milvus --vectors 10000
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path


def parse_args():
    parser = argparse.ArgumentParser(
        description='Fill an index with generated vectors (clusters in a cone, as features of a '
        'tower lie) and ask it.'
    )
    parser.add_argument('backend', choices=['exact', 'lance', 'milvus'])
    parser.add_argument('--vectors', type=int, default=10_000, help='(default: 10000)')
    parser.add_argument('--dim', type=int, default=512, help='(default: 512)')
    parser.add_argument('--queries', type=int, default=20, help='(default: 20)')
    parser.add_argument('-k', type=int, default=10, help='(default: 10)')
    parser.add_argument('--folder', metavar='DIR', help='default: a temporary folder')
    parser.add_argument(
        '--memory', metavar='MIB', help='?memory=MIB of the index (exact and lance; default: none)'
    )
    return parser.parse_args()


def blocks(args, size=20_000):
    """Yields vectors of length 1, block by block, the same for every back end."""
    import numpy as np

    rng = np.random.default_rng(0)
    cone = rng.standard_normal(args.dim).astype(np.float32)
    centres = rng.standard_normal((1000, args.dim)).astype(np.float32)
    for start in range(0, args.vectors, size):
        count = min(size, args.vectors - start)
        rows = rng.standard_normal((count, args.dim), dtype=np.float32)
        rows += centres[rng.integers(0, len(centres), count)] + cone
        yield start, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def resident():
    """Returns the MiB of the process: its own memory, and pages of mapped files."""
    lines = Path('/proc/self/status').read_text().splitlines()
    sizes = dict(line.split()[:2] for line in lines if line.startswith(('RssAnon', 'RssFile')))
    return ', '.join(f'{name[:-1]} {int(size) / 1024:.0f} MiB' for name, size in sizes.items())


def main():
    args = parse_args()
    import numpy as np
    import torch

    from rs_mm.retrieval.fusion import WeiCom
    from rs_mm.retrieval.index import Record, check_recall, make_filter, open_index, search_fused

    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        place = dict(exact='{}/i', lance='lance://{}/i', milvus='milvus://{}/i.db')
        start, clock = time.process_time(), time.monotonic()
        uri = place[args.backend].format(folder)
        index = open_index(uri, args.dim, {})
        queries = []
        for first, rows in blocks(args):
            records = [
                Record(f'{first + i:08d}', labels=('rare',) if (first + i) % 1000 == 0 else ())
                for i in range(len(rows))
            ]
            index.add(records, rows)
            queries = [*queries, *rows[:2]][-args.queries :]
        added = time.process_time() - start
        index.compact()
        built = time.process_time() - start
        size = sum(path.stat().st_size for path in Path(folder).rglob('*') if path.is_file())
        elapsed = time.monotonic() - clock
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if args.memory:
            index = open_index(f'{uri}?memory={args.memory}')

        def seconds(ask):
            ask(0)
            times = []
            for i in range(1, len(queries)):
                begin = time.process_time()
                ask(i)
                times.append(time.process_time() - begin)
            return float(np.median(times))

        rare = make_filter(labels=['rare'])
        plain = seconds(lambda i: index.search(queries[i], args.k))
        filtered = seconds(lambda i: index.search(queries[i], args.k, rare))
        seen = []

        def fused(i):
            image, text = torch.from_numpy(queries[i]), torch.from_numpy(queries[i - 1])
            answer = search_fused(index, WeiCom(0.5), image, text, args.k)
            seen.append((answer.seen, answer.exact))

        composed = seconds(fused)
        print(
            f'{args.backend}, {args.vectors} x {args.dim}: added in {added:.1f} s, built in '
            f'{built:.1f} CPU seconds ({elapsed:.0f} s elapsed), {size / 2**20:.0f} MiB on disk, '
            f'peak {memory:.0f} MiB\n'
            f'  query {1000 * plain:.1f} ms, with a filter that 1 in 1000 meets '
            f'{1000 * filtered:.1f} ms, WeiCom {1000 * composed:.1f} ms from '
            f'{int(np.median([count for count, _ in seen]))} candidates '
            f'({"proven" if all(exact for _, exact in seen) else "approximate"})\n'
            f'  recall@{args.k} {check_recall(index, args.k, queries=args.queries):.4f}, '
            f'with the filter {check_recall(index, args.k, rare, args.queries):.4f}; peak after '
            f'all {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, now '
            f'{resident()}',
            flush=True,
        )


if __name__ == '__main__':
    main()
