"""From two image files to a mask file that lies where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from rs_mm.apis.change import to_rgb
from rs_mm.datasets.raster import read_geo_tags, write_tiff
from rs_mm.datasets.transforms.band_images import read_image
from rs_mm.visualization import ChangeVisualizer, save_sheet


def predict_files(detector, image1, image2, out, bands=None, value_range=None, crop=False,
                  probability=False) -> list[Path]:
    """Predicts a pair of files and writes the mask and a picture.

    Args:
        detector (ChangeDetector): the model.
        image1, image2 (str | Path): dates 1 and 2.
        out (str | Path): folder to write into.
        bands, value_range: see :meth:`ChangeDetector.__call__`.
        crop (bool): cut both images to the smaller height and width, keeping the upper left corner.
        probability (bool): also write the probability of change.

    Returns:
        list[Path]: the files written: ``STEM1_STEM2_change.tif`` (or ``.png``), ``..._change.jpg``
        and, if asked for, ``..._probability.tif``.
    """
    images = [read_image(str(path)) for path in (image1, image2)]
    if crop:
        height, width = (min(image.shape[i] for image in images) for i in (0, 1))
        # the upper left corner stays, and with it the georeference
        images = [image[:height, :width] for image in images]
    images = to_rgb(images, bands, value_range)
    found = detector(*images)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f'{Path(image1).stem}_{Path(image2).stem}'
    geo_tags = read_geo_tags(image1)
    mask = np.where(found.mask > 0, 255, 0).astype(np.uint8)
    if Path(image1).suffix.lower() in ('.tif', '.tiff'):
        written = [folder / f'{stem}_change.tif']
        write_tiff(written[0], mask, geo_tags)
    else:
        written = [folder / f'{stem}_change.png']
        save_sheet(written[0], mask)
    if probability:
        written.append(folder / f'{stem}_probability.tif')
        write_tiff(written[-1], found.probability, geo_tags)
    written.append(folder / f'{stem}_change.jpg')
    save_sheet(written[-1], _picture(images, found.mask, stem))
    return written


def _picture(images, mask, name):
    planes = np.concatenate([image[..., ::-1] for image in images], axis=2).transpose(2, 0, 1)
    sample = SegDataSample(metainfo=dict(img_path=[name]))
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(mask[None].astype(np.int64)))
    visualizer = ChangeVisualizer(panel_size=512)
    return visualizer.draw_sample(sample, torch.from_numpy(np.ascontiguousarray(planes)))
