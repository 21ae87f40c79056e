"""The command ``tools/retrieval/search.py``."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

from rs_mm.errors import ConfigError, DataError, RSMMError
from rs_mm.retrieval.index import check_recall, make_filter
from rs_mm.retrieval.text_terms import read_terms
from rs_mm.visualization import save_sheet

from .engine import ImageSearch
from .map import write_search_map
from .methods import fusion_of
from .queries import prompted, read_queries
from .rerank import ChangeRerank
from .results import Results, check_output, save_results


def search(args: Namespace) -> Results | dict[str, Results]:
    """Runs one search, prints the results and writes the requested files.

    Args:
        args: the options of ``tools/retrieval/search.py``.

    Raises:
        ConfigError, MissingFileError: an option is wrong; if possible, this is raised before any
            work.
    """
    where = _check(args)
    rerank = None if args.rerank is None else ChangeRerank(*args.rerank, device=args.device)
    engine = ImageSearch(
        args.archive,
        args.config,
        args.weights,
        args.index_dir,
        args.bands,
        args.device,
        args.cfg_options,
        args.features,
        args.index,
        args.metadata,
        tile=args.tile,
        stride=args.stride,
        backend=args.backend,
    )
    if args.queries or args.prompt:
        return _ask_many(args, engine, where)
    found = _ask(args, engine, args.image, args.text, where)
    if rerank is not None:
        found = rerank(engine, args.image, found)
    _print(found)
    if args.check:
        recall = check_recall(engine.index, args.k, where)
        print(f'recall@{args.k} on a sample of the archive: {recall:.4f}')
    if args.out:
        found.save(args.out)
        print(f'The results are in {args.out}')
    if args.show_dir:
        path = Path(args.show_dir) / 'search.png'
        save_sheet(path, found.draw())
        print(f'The picture is {path}')
    if args.map:
        write_search_map(args.map, engine, found)
        print(f'The map is {args.map}')
    return found


def _ask(args, engine, image, text, where):
    return engine(image, text, args.lam, args.k, args.method, where, args.term, args.without)


def _print(found):
    for rank, hit in enumerate(found, 1):
        change = '' if hit.change is None else f'  {hit.change:7.2%}'
        print(f'{rank:4d}  {hit.score:8.4f}{change}  {_place(hit)}')
    print(found.answer.report())


def _ask_many(args, engine, where):
    """Answers the queries of a table or a prompt; a bad query is reported at the end."""
    results, failed = {}, {}
    for query in read_queries(args.queries) if args.queries else prompted():
        print(f'{query.name}: {" | ".join(filter(None, (query.image, query.text)))}')
        try:
            found = results[query.name] = _ask(args, engine, query.image, query.text, where)
        except (RSMMError, OSError) as error:
            failed[query.name] = str(error)
            print(f'      failed: {error}')
            continue
        _print(found)
        if args.show_dir:
            name = re.sub(r'[^\w.-]+', '_', query.name)
            path = Path(args.show_dir) / f'{name}.png'
            save_sheet(path, found.draw())
    if args.out and results:
        save_results(args.out, results)
        print(f'The results are in {args.out}')
    if failed:
        name, reason = next(iter(failed.items()))
        raise DataError(f'{len(failed)} queries failed, e.g. {name}: {reason}')
    return results


def _check(args):
    """Returns the filter of the options, after a check of all options that need no model."""
    many = bool(args.queries or args.prompt)
    if many and (args.image or args.text or args.rerank or args.map or args.check):
        raise ConfigError(
            '--queries and --prompt bring their own images and texts; leave --image, --text, '
            '--rerank, --map and --check out.'
        )
    if args.queries:
        read_queries(args.queries)
    parts = read_terms(args.text, args.term, args.without)
    fusion_of(many or args.image is not None, bool(parts), args.method, args.lam)
    if args.k < 1:
        raise ConfigError(f'k={args.k}: ask for at least one image.')
    if args.rerank is not None:
        if args.rerank[0] != 'change':
            raise ConfigError(f'--rerank {args.rerank[0]}: only "change" is known.')
        if args.image is None:
            raise ConfigError('--rerank change compares with the query image; give --image.')
    if args.out:
        check_output(args.out)
    return make_filter(args.bbox, args.after, args.before, args.label, args.where)


def _place(hit):
    window = hit.record.window
    return hit.path + (f'  window {" ".join(map(str, window))}' if window else '')
