import torch

from rs_mm.datasets import stack_collate
from rs_mm.structures import EmbeddingDataSample


def batch(shapes, labels):
    items = []
    for i, (shape, label) in enumerate(zip(shapes, labels)):
        sample = EmbeddingDataSample(metainfo=dict(sample_idx=i))
        if label is not None:
            sample.set_gt_label(torch.tensor(label))
        items.append(dict(inputs=torch.full(shape, float(i)), data_samples=sample))
    return items


def test_images_and_labels_are_one_tensor_each():
    data = stack_collate(batch([(3, 4, 5)] * 3, [[1, 0], [0, 1], [1, 1]]))
    assert data['inputs'].shape == (3, 3, 4, 5) and data['inputs'][2].eq(2).all()
    labels = [sample.gt_label for sample in data['data_samples']]
    assert [label.tolist() for label in labels] == [[1, 0], [0, 1], [1, 1]]
    assert len({label.untyped_storage().data_ptr() for label in labels}) == 1


def test_what_differs_stays_as_it_is():
    data = stack_collate(batch([(3, 4, 5), (3, 5, 5)], [[1, 0], [1, 0, 1]]))
    assert [image.shape[1] for image in data['inputs']] == [4, 5]
    assert [len(sample.gt_label) for sample in data['data_samples']] == [2, 3]
    data = stack_collate(batch([(1, 2, 2)] * 2, [[1], None]))
    assert data['inputs'].shape == (2, 1, 2, 2)
    assert data['data_samples'][0].gt_label.tolist() == [1]
    assert 'gt_label' not in data['data_samples'][1]
