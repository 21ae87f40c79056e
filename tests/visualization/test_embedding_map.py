"""The map of an embedding: clusters stay together, label sets have colours."""

import numpy as np

from rs_mm.visualization.embedding_map import OTHER, draw_embedding_map, project


def test_clusters_stay_together():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(3), 15)
    places = project(10 * np.eye(8)[group] + rng.normal(size=(45, 8)))
    assert places.shape == (45, 2) and places.min() >= 0 and places.max() <= 1
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 10 * np.eye(45)
    assert (group[distance.argmin(1)] == group).mean() > 0.9


def test_few_or_equal_vectors_have_places():
    repeated = np.eye(6)[[0, 1, 2, 3, 4] * 8]
    for embeddings in (np.zeros((1, 4)), np.eye(3), np.zeros((12, 4)), repeated):
        places = project(embeddings.astype(np.float32))
        assert places.shape == (len(embeddings), 2) and np.isfinite(places).all()


def test_label_sets_have_colours():
    labels = np.array([[1, 0], [1, 0], [0, 0], [1, 1]])
    places = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]])
    picture = draw_embedding_map(places, labels, ['a', 'b'], 'title', num_sets=2, size=200)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3)}
    assert OTHER in colours and (229, 34, 34) in colours
