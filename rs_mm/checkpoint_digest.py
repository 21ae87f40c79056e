"""A check that a checkpoint is unchanged: a SHA-256 in the file, and checksums of its parts.

A checkpoint of torch is a zip archive. A checkpoint of rs_mm ends with a comment of the archive,
which holds the SHA-256 of every byte before it. Every program that reads torch's files can read it.
Other files have the CRC-32 that the archive keeps for each of its parts.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
import zlib
from pathlib import Path

from rs_mm.errors import CheckpointError
from rs_mm.limits import check_expansion

_PREFIX = b'rs_mm sha256 '
_COMMENT = re.compile(re.escape(_PREFIX) + rb'([0-9a-f]{64})\Z')
_COMMENT_SIZE = len(_PREFIX) + 64
_END = b'PK\x05\x06'  # the record that ends an archive: 22 bytes, of which the last two say how
_END_SIZE = 22  # long the comment is that follows
_CHUNK = 1 << 20

_verified: dict[tuple[str, int, int], str | None] = {}


def sealed(content: bytes | memoryview) -> list:
    """Returns the parts of an archive of torch with its SHA-256 at the end.

    Args:
        content: bytes of ``torch.save``. Other bytes are returned unchanged.
    """
    view = memoryview(content)
    if view[-_END_SIZE : -_END_SIZE + 4] != _END or view[-2:] != b'\0\0':
        return [content]
    body = view[:-2]  # without the length of the comment, which will change
    comment = _PREFIX + hashlib.sha256(body).hexdigest().encode()
    return [body, struct.pack('<H', len(comment)), comment]


def verify(path: str | Path) -> str | None:
    """Compares a checkpoint with its checksums.

    A file that has not changed since the last check is not read again.

    Returns: ``sha256`` or ``crc32``, the checksum that was compared; None if there is none (a file
        of torch before 1.6).

    Raises:
        CheckpointError: the file has changed since it was written, or its parts unpack to too many
            bytes.
    """
    state = Path(path).stat()
    key = str(Path(path).resolve()), state.st_size, state.st_mtime_ns
    if key not in _verified:
        _verified[key] = _compare(path)
    return _verified[key]


def _compare(path):
    with open(path, 'rb') as file:
        start = file.read(20)
        if not start.startswith((b'PK', b'\x80')):  # an archive; a pickle of torch before 1.6
            what = f'begins with {start!r}' if start else 'is empty'
            raise CheckpointError(
                f'{path} is not a checkpoint: it {what}. Was a web page or a git-lfs '
                'pointer saved in its place? Download it again.'
            )
        if not start.startswith(b'PK'):
            return None
        size = file.seek(0, 2)
        file.seek(max(0, size - _COMMENT_SIZE))
        stated = _COMMENT.search(file.read())
        if stated:
            file.seek(0)
            if _digest(file, size - _COMMENT_SIZE - 2) != stated[1].decode():
                raise CheckpointError(_damaged(path, 'its SHA-256 differs from the saved one'))
    _check_parts(path, read=not stated)
    return 'sha256' if stated else 'crc32'


def _digest(file, count):
    digest = hashlib.sha256()
    while count > 0 and (chunk := file.read(min(_CHUNK, count))):
        digest.update(chunk)
        count -= len(chunk)
    return digest.hexdigest()


def _check_parts(path, read):
    try:
        with zipfile.ZipFile(path) as archive:
            whole = sum(part.file_size for part in archive.infolist())
            check_expansion(whole, Path(path).stat().st_size, str(path), CheckpointError)
            wrong = archive.testzip() if read else None
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        zlib.error,
        RuntimeError,
        struct.error,
    ) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f'{path} is not a readable checkpoint (cut short in a download?): {error}'
        ) from error
    if wrong:
        raise CheckpointError(_damaged(path, f'the checksum of its part {wrong} is wrong'))


def _damaged(path, how):
    return (
        f'{path} is damaged: {how}. Take the checkpoint before it, or copy the file again from '
        'where it was made.'
    )
