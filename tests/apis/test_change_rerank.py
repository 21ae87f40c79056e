"""Hits of a search ordered by predicted change."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rs_mm.apis.search import Found, Results
from rs_mm.apis.search.rerank import ChangeRerank
from rs_mm.errors import ConfigError, DataError
from rs_mm.retrieval.index import Answer, Record


class Brightness:
    """A detector that calls changed what is brighter by more than 20."""

    def __call__(self, before, after):
        return SimpleNamespace(mask=(after.astype(int) - before > 20).any(-1).astype(np.uint8))


class Engine:
    def __init__(self, images):
        self.images = images

    def query_picture(self, image):
        return self.images[image]

    def picture(self, record):
        if record.name == 'lost':
            raise DataError('lost: no such image')
        return self.images[record.name]


def test_the_most_changed_comes_first():
    base = np.full((20, 20, 3), 50, np.uint8)
    flood, half = base.copy(), base.copy()
    flood[:15], half[:10] = 200, 200
    large = np.asarray(Image.fromarray(half).resize((40, 40)))
    engine = Engine({'pre': base, 'same': base, 'flood': flood, 'half': large})
    found = Results(
        [Found(name, 0.5, Record(name)) for name in ('lost', 'same', 'half', 'flood')],
        Answer([], np.zeros(0), 'exact', True, 4, 4),
        'WeiCom, lambda 0.5',
    )
    rerank = ChangeRerank.__new__(ChangeRerank)
    rerank.detector = Brightness()
    result = rerank(engine, 'pre', found)
    assert [hit.path for hit in result] == ['flood', 'half', 'same', 'lost']
    shares = [hit.change for hit in result]
    assert shares[0] == 0.75 and shares[2] == 0 and shares[3] is None
    assert shares[1] == pytest.approx(0.5, abs=0.06)
    assert result.method == 'WeiCom, lambda 0.5, by change' and result.rows()[0]['change'] == 0.75


def test_other_files_are_refused(tmp_path):
    found = Results([], Answer([], np.zeros(0), 'exact', True, 0, 0), 'x')
    with pytest.raises(ConfigError, match='written as .csv'):
        found.save(tmp_path / 'x.xlsx')
