"""Lists of episodes for a part of a published few-shot dataset."""

from __future__ import annotations

from pathlib import Path

from rs_mm.errors import DataError, MissingFileError
from rs_mm.files import atomic_write

from .episodes import PACKED, read_entries
from .few_shot_dataset import DLRSD5iDataset, FewShotDataset, ISAID5iDataset, Pascal5iDataset

SETS: dict[str, type[FewShotDataset]] = dict(
    isaid_5i=ISAID5iDataset, dlrsd_5i=DLRSD5iDataset, pascal_5i=Pascal5iDataset
)


def write_lists(name: str, data_root: str, out: str) -> list[tuple[Path, int, int]]:
    """Writes the published lists with only the entries whose image and label exist.

    Args:
        name: a key of ``SETS``.
        data_root: folder of the set.
        out: folder for ``{trn,val}/foldN.txt``; the dataset's ``list_dir``.

    Returns:
        For each list its file, the number of kept entries, and the number of all entries.

    Raises:
        MissingFileError: the folder does not exist.
        DataError: no entry of the lists exists.
    """
    if not Path(data_root).is_dir():
        raise MissingFileError(f'there is no folder {data_root}; give the one of the set.')
    cls, written, missing = SETS[name], [], None
    for split in ('trn', 'val'):
        place = cls.__new__(cls)  # only the dataset knows the files of a name
        place.data_root, place.split = data_root, split
        for fold in range(cls.folds):
            entries = read_entries(PACKED / cls.packed_lists / split / f'fold{fold}.txt.gz')
            kept = []
            for entry in entries:
                lost = [path for path in place.files(entry[0]) if not Path(path).is_file()]
                missing = missing or (lost and lost[0])
                if not lost:
                    kept.append(entry)
            written.append((Path(out) / split / f'fold{fold}.txt', kept, len(entries)))
    if not any(kept for _, kept, _ in written):
        raise DataError(
            f'no image of the lists of {name} is below {data_root}; the first one that is missing '
            f'is {missing}.'
        )
    for path, kept, _ in written:
        with atomic_write(path, 'w', encoding='utf-8') as file:
            file.writelines(f'{image}__{label + 1}\n' for image, label in kept)
    return [(path, len(kept), total) for path, kept, total in written]
