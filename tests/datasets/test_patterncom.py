import pytest

from rs_mm.datasets.patterncom import PatternCom, read_table
from rs_mm.errors import ConfigError, DataError, MissingFileError


def write(folder, name, text):
    path = folder / f'{name}.csv'
    path.write_text(text)
    return path


def test_a_row_asks_for_the_other_values_of_its_class(tmp_path):
    write(
        tmp_path,
        'color',
        'car1.jpg,color,red\ncar2.jpg,color,blue\ncar3.jpg,color,red\nbus1.jpg,color,green\n',
    )
    data = PatternCom(tmp_path, ['color'])
    assert len(data) == 4
    assert data[0] == dict(
        image='car1.jpg', class_name='car', attribute='color', value='red', prompts=['blue']
    )
    assert data[3]['prompts'] == []
    assert data.prompts == ['blue', 'green', 'red']
    queries = data.query_sets(['bus1.jpg', 'car3.jpg', 'car2.jpg', 'car1.jpg'])[0]
    assert queries.images.tolist() == [3, 2, 1]
    assert [queries.answers[g].tolist() for g in queries.groups] == [[2], [1, 3], [2]]


def test_a_merged_class_answers_everywhere_but_prompts_in_its_attribute_only(tmp_path):
    text = 'bridge1.jpg,x,a\nbridge2.jpg,x,b\noverpass1.jpg,x,b\noverpass2.jpg,x,c\n'
    names = ['bridge1.jpg', 'bridge2.jpg', 'overpass1.jpg', 'overpass2.jpg']
    write(tmp_path, 'color', text)
    write(tmp_path, 'context', text)
    color, context = PatternCom(tmp_path, ['color', 'context']).query_sets(names)
    asked = [[(int(i), q.prompts[t]) for i, t in zip(q.images, q.texts)] for q in (color, context)]
    assert asked[0] == [(0, 'b'), (1, 'a'), (2, 'c'), (3, 'b')]
    assert asked[1] == [
        (0, 'b'),
        (0, 'c'),
        (1, 'a'),
        (1, 'c'),
        (2, 'a'),
        (2, 'c'),
        (3, 'a'),
        (3, 'b'),
    ]
    assert color.answers[color.groups[0]].tolist() == [1, 2]


def test_a_missing_image_is_reported_with_its_line_and_skipped(tmp_path):
    write(tmp_path, 'shape', 'a1.jpg,shape,x\na9.jpg,shape,y\na2.jpg,shape,y\n')
    with pytest.warns(UserWarning, match=r'shape.csv: 1 of 3 rows .*line 2 a9.jpg'):
        queries = PatternCom(tmp_path, ['shape']).query_sets(['a1.jpg', 'a2.jpg'])[0]
    assert queries.images.tolist() == [0, 1]
    with pytest.raises(DataError, match='none of its 3 images is in the archive'):
        PatternCom(tmp_path, ['shape']).query_sets(['b.jpg'])


@pytest.mark.parametrize(
    'text,line',
    [
        ('a1.jpg,color\n', 1),
        ('a1.jpg,color,red\n\na2.jpg,color,red\n', 2),
        ('a1.jpg,color,red\na2.jpg,color,\n', 2),
        ('a1.jpg,color,red,x\n', 1),
    ],
)
def test_a_malformed_row_is_reported_with_its_line(tmp_path, text, line):
    with pytest.raises(DataError, match=rf'color.csv, line {line}: expected "file name,attribute'):
        read_table(write(tmp_path, 'color', text))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(MissingFileError, match='no table .*color.csv'):
        PatternCom(tmp_path, ['color'])
    for attributes in (['colour'], 'color', [], 5):
        with pytest.raises(ConfigError, match='choose a list out of color, context'):
            PatternCom(tmp_path, attributes)
    with pytest.raises(DataError, match='color.csv has no rows'):
        read_table(write(tmp_path, 'color', ''))
    write(tmp_path, 'color', 'a1.jpg,color,red\na2.jpg,color,red\n')
    with pytest.raises(DataError, match='color.csv has no query: no class has two values'):
        PatternCom(tmp_path, ['color']).query_sets(['a1.jpg', 'a2.jpg'])
    write(tmp_path, 'color', 'a1.jpg,color,red\na2.jpg,color,blue\n')
    with pytest.raises(DataError, match='several images named a1.jpg'):
        PatternCom(tmp_path, ['color']).query_sets(['a1.jpg', 'a1.jpg'])
