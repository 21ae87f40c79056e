"""Finding rasters by file name."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (
    '.png', '.jpg', '.jpeg', '.bmp', '.webp', '.gif', '.tif', '.tiff', '.gtiff', '.btf', '.tf8',
    '.jp2', '.j2k', '.jpx', '.vrt', '.img', '.ntf', '.nitf', '.bil', '.bip', '.bsq', '.dat',
    '.asc', '.nc', '.hdf', '.h5', '.ers', '.pix', '.rst', '.sid', '.ecw', '.zarr',
)  # fmt: skip


def is_image(path: Path) -> bool:
    """Returns whether a file name is that of a raster, or the file has an ENVI header."""
    if path.suffix.lower() in SUFFIXES:
        return path.is_file() or path.suffix.lower() == '.zarr'
    headers = path.with_name(f'{path.name}.hdr'), path.with_suffix('.hdr'), path.with_suffix('.HDR')
    return path.suffix.lower() != '.hdr' and path.is_file() and any(h.is_file() for h in headers)
