"""Lists of phrases that describe a domain: the contents and the looks of images."""

from __future__ import annotations

from pathlib import Path

from rs_mm.errors import DataError, MissingFileError
from rs_mm.tables import read_csv

FOLDER = Path(__file__).parent / 'corpora'
#: class names of AID, UCM, DFC15, BigEarthNet and PatternNet
SUBJECTS = FOLDER / 'subjects.csv'
#: attribute words of PatternCom, seasons, sensors, light
STYLES = FOLDER / 'styles.csv'


def read_corpus(path: str | Path) -> list[str]:
    """Reads the phrases of a CSV: its column ``text``, or its only column.

    Args:
        path: the file, UTF-8. A file of one column has a header only if its first line is ``text``.

    Returns:
        The phrases in the order of the file, each once, without empty ones.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the file is not UTF-8, has several columns and none named ``text``, or has fewer
            than two phrases.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'there is no list of phrases {path}.')
    rows = [[cell.strip() for cell in row] for row in read_csv(path, 'list')]
    rows = [row for row in rows if any(row)]
    column = 0
    if rows and 'text' in rows[0]:
        column = rows.pop(0).index('text')
    elif any(len(row) > 1 for row in rows):
        raise DataError(
            f'{path} has several columns, and its first line names none of them "text"; name the '
            'column of the phrases so, or leave only that column.'
        )
    phrases = dict.fromkeys(row[column] for row in rows if len(row) > column and row[column])
    if len(phrases) < 2:
        raise DataError(f'{path} holds {len(phrases)} phrases; at least two are needed.')
    return list(phrases)
