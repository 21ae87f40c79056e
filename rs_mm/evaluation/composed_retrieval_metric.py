"""The metric of composed retrieval: every method and lambda on every set of queries."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rs_mm.errors import ConfigError
from rs_mm.files import atomic_write
from rs_mm.registry import DATASETS, METRICS, TASK_UTILS
from rs_mm.retrieval import check_cutoffs, check_finite
from rs_mm.retrieval.composed import (
    QuerySet,
    average,
    evaluate_queries,
    metric_names,
    spread,
)
from rs_mm.retrieval.fusion import Fusion, WeightedFusion

from .sample_scores import unique_names

STATISTICS_SAMPLE = 1000  # number of images for the statistics of the archive
PUBLISHED_METHODS = ('ImageOnly', 'TextOnly', 'AverageFusion', 'WeiCom')


@dataclass
class ComposedReport:
    """The queries, and the results of each method.

    Args:
        queries: S sets of pairs.
        fusions: F methods.
        values: ``(F, S, M)`` float64, means over the pairs of a set, per cent.
        columns: the M metrics.
        prompt_features: for each set, features of its prompts for each method.
    """

    queries: list[QuerySet]
    fusions: list[Fusion]
    values: Tensor
    columns: list[str]
    prompt_features: list[list[Tensor]]

    @property
    def means(self) -> Tensor:
        """Returns ``(F, M)``: plain means over the sets."""
        return self.values.mean(1)

    def metrics(self) -> dict[str, float]:
        """Returns every value by ``METHOD/SET/METRIC``, with the set ``average`` at the end."""
        names = [queries.name for queries in self.queries] + ['average']
        all_values = torch.cat([self.values, self.means[:, None]], 1)
        return {
            f'{fusion.name}/{name}/{column}': float(value)
            for fusion, of_method in zip(self.fusions, all_values)
            for name, of_set in zip(names, of_method)
            for column, value in zip(self.columns, of_set)
        }

    def table(self) -> str:
        """Returns mAP per set, and all metrics averaged over the sets, as aligned text."""
        mean_ap = self.columns.index('mAP')
        names = [queries.name for queries in self.queries]
        per_set = torch.cat([self.values[..., mean_ap], self.means[:, mean_ap, None]], 1)
        order = [mean_ap] + [i for i in range(len(self.columns)) if i != mean_ap]
        return '\n'.join(
            [
                'mAP (%)',
                *_aligned(self.fusions, [*names, 'average'], per_set),
                '',
                f'average over {", ".join(names)} (%)',
                *_aligned(self.fusions, [self.columns[i] for i in order], self.means[:, order]),
            ]
        )

    def write_csv(self, path: str | Path) -> None:
        """Writes a row per method, lambda and set, with the average last."""
        names = [(queries.name, len(queries)) for queries in self.queries]
        names.append(('average', sum(count for _, count in names)))
        with atomic_write(path, 'w', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(['method', 'lambda', 'set', 'pairs', *self.columns])
            for fusion, of_method, mean in zip(self.fusions, self.values, self.means):
                lam = getattr(fusion, 'lam', '')
                title = fusion.name.split(', lambda')[0]
                for (name, count), of_set in zip(names, [*of_method, mean]):
                    # 17 digits would show the rounding of binary fractions
                    writer.writerow([title, lam, name, count, *(f'{v:.10g}' for v in of_set)])

    def best_fusions(self) -> list[Fusion]:
        """Returns every method at the lambda of its highest mean mAP."""
        best, mean_ap = {}, self.means[:, self.columns.index('mAP')].tolist()
        for fusion, value in zip(self.fusions, mean_ap):
            title = fusion.name.split(', lambda')[0]
            if title not in best or value > best[title][0]:
                best[title] = value, fusion
        return [fusion for _, fusion in best.values()]

    def curves(self) -> dict[str, list[tuple[float, Tensor]]]:
        """Returns mAP over lambda, for each method that was evaluated at two or more values.

        Returns:
            Method -> [(lambda, ``(S + 1,)`` mAP per set and their mean), …] by lambda.
        """
        mean_ap, curves = self.columns.index('mAP'), {}
        for fusion, of_method, mean in zip(self.fusions, self.values, self.means):
            if isinstance(fusion, WeightedFusion):
                point = torch.cat([of_method[:, mean_ap], mean[mean_ap : mean_ap + 1]])
                curves.setdefault(fusion.name.split(', lambda')[0], []).append((fusion.lam, point))
        return {
            name: sorted(points, key=lambda point: point[0])
            for name, points in curves.items()
            if len(points) > 1
        }


def _aligned(fusions, columns, values):
    width = max(len(fusion.name) for fusion in fusions)
    widths = [max(len(column), 6) for column in columns]
    head = ' ' * width + ''.join(f'  {c:>{w}}' for c, w in zip(columns, widths))
    return [head] + [
        f'{fusion.name:<{width}}' + ''.join(f'  {value:>{w}.2f}' for value, w in zip(row, widths))
        for fusion, row in zip(fusions, values.tolist())
    ]


@METRICS.register_module()
class ComposedRetrievalMetric:
    """A metric that evaluates fusions on sets of (image, text) queries over one archive.

    :class:`~rs_mm.engine.composed_retrieval_loop.ComposedRetrievalLoop` gives it the features of
    the whole archive.

    Args:
        queries: the queries: a dataset with ``query_sets(names)``, e.g. ``PatternCom``.
        methods: fusions to compare: registered names or configs. Default:
            the four published ones.
        lambdas: values of ``lam`` for each fusion that has this argument and does not set it; all
            values are evaluated in one pass.
        ks: depths of precision and recall.
        original_rounding: round each pair's values, and their means, to two decimals as the
            official evaluation does; with it, a published table can be reproduced to the last
            digit.
        chunk_size: similarities handled at once; it limits the memory.

    Attributes:
        sample_scores: after a test, a row per query with each method's average precision.

    Raises:
        ConfigError: a lambda is outside [0, 1], a depth is below 1, or a value is not a list.
    """

    def __init__(
        self,
        queries: dict,
        methods: Sequence[dict | str] = PUBLISHED_METHODS,
        lambdas: Sequence[float] = (0.5,),
        ks: Sequence[int] = (5, 10, 15, 20),
        original_rounding: bool = False,
        chunk_size: int = 2**22,
    ) -> None:
        self.queries = queries
        self.fusions = build_fusions(methods, lambdas)
        self.ks = tuple(check_cutoffs('ks', ks))
        self.original_rounding, self.chunk_size = original_rounding, chunk_size
        self.sample_scores: list[dict] = []
        self.dataset_meta = None  # set by mmengine's Evaluator

    @cached_property
    def dataset(self) -> Any:
        """The queries, read at first use."""
        return DATASETS.build(self.queries)

    def check_dataset(self, dataset: Sequence) -> None:
        """Checks that the archive has enough images, before it is embedded.

        Raises:
            ConfigError: a depth is larger than the archive.
        """
        if max(self.ks) > len(dataset):
            raise ConfigError(
                f'ks needs the best {max(self.ks)}, but the archive holds '
                f'{len(dataset)} images; use smaller ones.'
            )

    def evaluate_archive(
        self, names: Sequence[str], features: Tensor, encode_text: Callable[[list[str]], Tensor]
    ) -> ComposedReport:
        """Evaluates all queries.

        Args:
            names: N names of the archive's images; folders are ignored.
            features: ``(N, D)`` float32 of length 1.
            encode_text: texts -> ``(T, D)`` float32 of length 1, on the same device.

        Raises:
            ConfigError: a depth is larger than the archive.
            DataError: a feature is NaN or infinite.
        """
        self.check_dataset(names)
        check_finite(features, names)
        sets = self.dataset.query_sets([Path(name).name for name in names])
        text = [self._encode(queries.prompts, encode_text) for queries in sets]
        sample = features[spread(len(features), STATISTICS_SAMPLE)]
        for fusion in self.fusions:
            fusion.fit(features.mean(0), sample, encode_text)
        by_pair = [
            self._evaluate(queries, features, prompts) for queries, prompts in zip(sets, text)
        ]
        means = [average(values, self.original_rounding) for values in by_pair]
        columns = ['mAP' if name == 'AP' else name for name in metric_names(self.ks)]
        self.sample_scores = self._rows(sets, names, by_pair)
        return ComposedReport(sets, self.fusions, torch.stack(means, 1), columns, text)

    def _rows(self, sets, names, by_pair):
        """Returns a row per query: the average precision of each method, in per cent."""
        asked = unique_names(
            [
                f'{queries.name}: {Path(names[int(image)]).stem} + {queries.prompts[int(text)]}'
                for queries in sets
                for image, text in zip(queries.images, queries.texts)
            ]
        )
        precision = 100 * torch.cat([values[..., -1] for values in by_pair], 1)
        return [
            dict(
                sample=name,
                row=row,
                **{f.name: float(v) for f, v in zip(self.fusions, precision[:, row])},
            )
            for row, name in enumerate(asked)
        ]

    def _encode(self, prompts, encode_text):
        """Returns features of the prompts for each fusion, computed once for fusions that do not
        change them."""
        plain, encoded = encode_text(prompts), []
        for fusion in self.fusions:
            own = fusion.encode_texts(prompts, encode_text) if fusion.transforms_queries else plain
            check_finite(own, prompts, 'text')
            encoded.append(own)
        return encoded

    def _evaluate(self, queries, features, prompts):
        values = [None] * len(self.fusions)
        plain = [i for i, fusion in enumerate(self.fusions) if not fusion.transforms_queries]
        alone = [[i] for i in range(len(self.fusions)) if i not in plain]
        for group in filter(None, [plain, *alone]):
            fusions = [self.fusions[i] for i in group]
            of_group = evaluate_queries(
                queries, features, prompts[group[0]], fusions, self.ks, self.chunk_size
            )
            for i, value in zip(group, of_group):
                values[i] = value
        return torch.stack(values)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Not used, because the whole archive is needed at once."""
        raise ConfigError(
            "ComposedRetrievalMetric needs test_cfg=dict(type='ComposedRetrievalLoop')."
        )


def build_fusions(methods: Sequence[dict | str], lambdas: Sequence[float]) -> list[Fusion]:
    """Builds fusions; a fusion with an unset ``lam`` is built once per lambda.

    Raises:
        ConfigError: a value is not a list or is empty, or two methods have the same name in the
            table.
    """
    for key, values, example in (('methods', methods, "['WeiCom']"), ('lambdas', lambdas, [0.5])):
        if not isinstance(values, (list, tuple)) or not values:
            raise ConfigError(
                f'ComposedRetrievalMetric: {key}={values!r}; give a list, such as {example}.'
            )
    fusions = []
    for method in methods:
        cfg = dict(type=method) if isinstance(method, str) else dict(method)
        part = TASK_UTILS.get(cfg['type'])
        if 'lam' not in cfg and isinstance(part, type) and issubclass(part, WeightedFusion):
            fusions += [TASK_UTILS.build(dict(cfg, lam=lam)) for lam in lambdas]
        else:
            fusions.append(TASK_UTILS.build(cfg))
    names = [fusion.name for fusion in fusions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f'ComposedRetrievalMetric: methods holds "{twice}" twice; drop one.')
    return fusions
