"""Compares loading BigEarthNet patches from the LMDB with reading their GeoTIFFs, in one process.

Both give the same network input: only the needed bands are read, coarse bands are enlarged, all are
normalised. `read` is the time for the arrays only, `sample` for the whole pipeline. The two
alternate, so other load on the machine affects both.

    python tools/benchmarks/loading.py --out loading.json
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path


def parse_args():
    parser = argparse.ArgumentParser(description='LMDB against GeoTIFFs, in patches per second')
    parser.add_argument(
        '--source',
        help='folder of BigEarthNet v1 or v2 (default: generated patches with real dimensions)',
    )
    parser.add_argument('--patches', type=int, default=200, help='patches to use (default: 200)')
    parser.add_argument('--rounds', type=int, default=5, help='turns of each (default: 5)')
    parser.add_argument(
        '--bands', nargs='+', default=['rgb', '10', '12'], choices=['rgb', '10', '12']
    )
    parser.add_argument('--out', metavar='JSON', help='also write the figures to this file')
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


def run(args):
    from rs_mm.datasets.bigearthnet.convert import convert
    from rs_mm.datasets.bigearthnet.folders import open_source
    from rs_mm.datasets.fake.bigearthnet import make_bigearthnet_v1

    with tempfile.TemporaryDirectory() as folder:
        root = Path(args.source or f'{folder}/v1')
        if not args.source:
            make_bigearthnet_v1(root, args.patches)
        source = open_source(root)
        names = source.names()[: args.patches]
        convert(source, f'{folder}/lmdb', dict(all=names), workers=0)
        rows = [
            row
            for bands in args.bands
            for row in compare(bands, source, f'{folder}/lmdb', names, args.rounds)
        ]
    print(f'{"bands":6} {"step":7} {"GeoTIFF/s":>10} {"LMDB/s":>10} {"ratio":>7}')
    for row in rows:
        print('{bands:6} {step:7} {geotiff:10.0f} {lmdb:10.0f} {ratio:7.1f}'.format(**row))
    if args.out:
        about = dict(
            patches=len(names),
            rounds=args.rounds,
            unit='patches per second, one process, median of rounds',
            figures=rows,
        )
        from rs_mm.files import write_json

        write_json(args.out, about)


def compare(bands, source, lmdb_path, names, rounds):
    """Times both ways for one selection of bands; returns a row for `read` and a row for
    `sample`."""
    import numpy as np

    from rs_mm.datasets import BigEarthNetDataset
    from rs_mm.datasets.bigearthnet.bands import GROUPS, SELECTIONS, select_bands
    from rs_mm.datasets.bigearthnet.store import PatchReader

    steps = [
        dict(type='LoadBigEarthNetPatch', bands=bands),
        dict(type='NormalizeBigEarthNet'),
        dict(type='PackEmbeddingInputs'),
    ]
    dataset = BigEarthNetDataset(lmdb_path, pipeline=steps)
    reader, finish = PatchReader(lmdb_path), dataset.pipeline.transforms[1:]
    groups = [group for group in GROUPS if set(GROUPS[group]) & set(SELECTIONS[bands])]

    def read_geotiff(name):
        return source.read(name, SELECTIONS[bands])

    def read_lmdb(name):  # copies, because the arrays of a GeoTIFF also belong to the process
        record = reader.read(name)
        return {group: record[group].copy() for group in groups}

    def sample_geotiff(name):
        record = source.read(name, SELECTIONS[bands])
        results = dict(
            name=name,
            img=select_bands(record, SELECTIONS[bands]).transpose(1, 2, 0),
            band_names=SELECTIONS[bands],
            gt_label=record['label19'],
        )
        for transform in finish:
            results = transform(results)
        return results

    places = {name: index for index, name in enumerate(dataset.names())}

    def sample_lmdb(name):
        return dataset[places[name]]

    for name in names[:3]:
        assert np.array_equal(sample_geotiff(name)['inputs'], sample_lmdb(name)['inputs'])
    for step, pair in (
        ('read', (read_geotiff, read_lmdb)),
        ('sample', (sample_geotiff, sample_lmdb)),
    ):
        rates = [[], []]
        for _ in range(rounds):
            for function, found in zip(pair, rates):
                start = time.perf_counter()
                for name in names:
                    function(name)
                found.append(len(names) / (time.perf_counter() - start))
        geotiff, lmdb = map(statistics.median, rates)
        yield dict(bands=bands, step=step, geotiff=geotiff, lmdb=lmdb, ratio=lmdb / geotiff)


if __name__ == '__main__':
    main()
