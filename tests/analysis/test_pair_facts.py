"""check_dataset.py counts ground without data, empty labels and dates on different grids."""

import numpy as np
import pytest
from affine import Affine

pytest.importorskip('rasterio', reason='the extra geo is not installed')

from rs_mm.analysis.dataset_check import check_config  # noqa: E402
from tests.rasters.files import UTM, smooth, write  # noqa: E402
from tests.toy_change import toy_model_config  # noqa: E402


def test_what_pairs_hold(tmp_path):
    moved = dict(transform=UTM['transform'] @ Affine.translation(7, 0))
    for name in 'abcd':
        dates = [smooth(32, 32).astype('f4') for _ in range(2)]
        label = np.zeros((32, 32), np.uint8)
        if name == 'a':
            label[4:9, 4:9] = 1
            dates[0][:8] = -9999
        if name == 'b':
            dates[1][3, 3] = np.nan
        for folder, image in zip('AB', dates):
            place = UTM | (moved if name == 'c' and folder == 'B' else {})
            (tmp_path / folder).mkdir(exist_ok=True)
            declared = dict(nodata=-9999) if name == 'a' else {}
            write(tmp_path / folder / f'{name}.tif', image, **declared, **place)
        (tmp_path / 'label').mkdir(exist_ok=True)
        write(tmp_path / 'label' / f'{name}.tif', label, **UTM)
    pipeline = [dict(type='MultiImgLoadTiff'), dict(type='MultiImgLoadAnnotations')]
    dataset = dict(
        type='ChangeDetectionDataset', data_root=str(tmp_path), img_suffix='.tif',
        seg_map_suffix='.tif', format_seg_map=None, label_values=(0, 1, 255), pipeline=pipeline,
        data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
    )  # fmt: skip
    config = tmp_path / 'c.py'
    config.write_text(
        f"default_scope = 'rs_mm'\nmodel = {toy_model_config()!r}\n"
        f'train_dataloader = dict(batch_size=1, dataset={dataset!r})\n'
    )
    found = check_config(config, ['train'], num_workers=1)['train']
    notes = ' '.join(found['notes'])
    assert '2 of 4 train pairs have pixels without data' in notes
    assert '3 of 4 train labels hold no change' in notes
    problems = ' '.join(found['problems'])
    assert 'c.tif' in problems and 'do not show the same ground' in problems
    assert 'b.tif' in problems and 'NaN' in problems and len(found['problems']) == 2
