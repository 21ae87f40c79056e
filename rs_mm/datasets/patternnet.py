"""PatternNet: 38 classes of 800 aerial images, the archive of PatternCom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rs_mm.errors import DataError, MissingFileError
from rs_mm.limits import check_inside
from rs_mm.registry import DATASETS
from rs_mm.tables import read_text

from .image_archive import ImageArchive


@DATASETS.register_module()
class PatternNet(ImageArchive):
    """The images that ``patternnet.csv`` lists.

    The list has one image per line, without a header: the path below ``data_root``, a number that
    is not used, and the name of the class, separated by spaces. A listed image that is missing
    counts as unreadable.

    Every sample has ``class_name`` in addition to the keys of :class:`ImageArchive`.

    Args:
        data_root: root of the dataset, e.g. the folder of ``images/airplane/…``.
        ann_file: the list, relative to ``data_root``. None takes all images below
            ``data_root`` and their folders as classes.
        pipeline: transforms.

    Raises:
        DataError: a line has fewer than three fields; the message names it.

    Source: Zhou et al., PatternNet: a benchmark dataset for performance evaluation of remote
    sensing image retrieval, ISPRS J. 2018.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str | None = 'patternnet.csv',
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        self.list_file = None if ann_file is None else Path(data_root) / ann_file
        super().__init__(data_root=data_root, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        if self.list_file is None:
            return [
                dict(sample, class_name=Path(sample['img_path']).parent.name)
                for sample in super().load_data_list()
            ]
        if not self.list_file.is_file():
            raise MissingFileError(
                f'there is no list {self.list_file}: put patternnet.csv there (a line per image: '
                "its path, a number, its class), or set the dataset's ann_file=None to take every "
                'image below data_root.'
            )
        samples = []
        lines = read_text(self.list_file, 'list').splitlines()
        for number, line in enumerate(lines, 1):
            fields = line.split()
            place = f'{self.list_file}, line {number}'
            if len(fields) < 3:
                raise DataError(f'{place}: expected "path number class", got "{line.strip()}".')
            samples.append(
                dict(
                    img_path=str(Path(self.data_root) / check_inside(fields[0], place)),
                    name=fields[0],
                    class_name=fields[2],
                )
            )
        if not samples:
            raise DataError(f'{self.list_file} lists no image.')
        return samples
