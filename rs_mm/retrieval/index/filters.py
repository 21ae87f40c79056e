"""Filters over the metadata of an index: one language, translated for each back end.

A filter is an expression in Python's syntax over the fields of a record, for example
``sensor == 'S2' and 'harbor' in labels and north > 54``. It is parsed, never run.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rs_mm.errors import ConfigError, suggest

from .record import INTEGERS, NUMBERS, TEXTS, joined

_KNOWN = (*TEXTS, *INTEGERS, *NUMBERS, 'labels')
_OPERATORS = {
    ast.Eq: '=',
    ast.NotEq: '!=',
    ast.Lt: '<',
    ast.LtE: '<=',
    ast.Gt: '>',
    ast.GtE: '>=',
}
_TURNED = {'<': '>', '<=': '>=', '>': '<', '>=': '<='}


@dataclass(frozen=True)
class Compare:
    """``field operator value``; the operator is one of ``= != < <= > >=``."""

    field: str
    operator: str
    value: str | float


@dataclass(frozen=True)
class Has:
    """The record has this label."""

    label: str


@dataclass(frozen=True)
class Not:
    """The condition does not hold."""

    part: Condition


@dataclass(frozen=True)
class Joined:
    """All conditions hold (``and``), or one of them does (``or``)."""

    operator: str
    parts: tuple[Condition, ...]


Condition = Compare | Has | Not | Joined


def make_filter(
    bbox: Sequence[float] | None = None,
    after: str | None = None,
    before: str | None = None,
    labels: Sequence[str] = (),
    where: str | None = None,
) -> Condition | None:
    """The conditions of a query, all of which must hold.

    Args:
        bbox: ``(west, south, east, north)`` in degrees, which the footprint must meet; west is
            larger than east for a box across the date line.
        after: first date, ``2020``, ``2020-05`` or ``2020-05-31``, possibly with a time.
        before: last date, in the same form; it is included.
        labels: labels that a record must all have.
        where: a further expression.

    Returns:
        The condition, or None without any.

    Raises:
        ConfigError: a value is wrong; the message names it.
    """
    parts: list[Condition] = []
    if bbox is not None:
        parts.append(_box(bbox))
    if after is not None:
        parts.append(Compare('date', '>=', _date(after, 'after')))
    if before is not None:
        # '~' comes after every character of a date: a day includes its times
        parts.append(Compare('date', '<=', _date(before, 'before') + '~'))
        parts.append(Compare('date', '!=', ''))
    parts += [Has(label) for label in labels]
    if where is not None and where.strip():
        parts.append(parse(where))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else Joined('and', tuple(parts))


def parse(text: str) -> Condition:
    """Reads an expression.

    Raises:
        ConfigError: the text is not an expression, or names an unknown field.
    """
    try:
        tree = ast.parse(text.strip(), mode='eval').body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f'the filter "{text}" cannot be read: write it as sensor == "S2" and "harbor" in '
            'labels and north > 54.'
        ) from error
    return _condition(tree, text)


def _condition(node, text):
    if isinstance(node, ast.BoolOp):
        operator = 'and' if isinstance(node.op, ast.And) else 'or'
        return Joined(operator, tuple(_condition(part, text) for part in node.values))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return Not(_condition(node.operand, text))
    if not isinstance(node, ast.Compare):
        raise ConfigError(
            f'the filter "{text}": "{ast.unparse(node)}" is not a comparison; write a field, an '
            'operator and a value, such as north > 54.'
        )
    sides = [node.left, *node.comparators]
    parts = [
        _comparison(left, operator, right, text)
        for left, operator, right in zip(sides, node.ops, sides[1:])
    ]
    return parts[0] if len(parts) == 1 else Joined('and', tuple(parts))


def _comparison(left, operator, right, text):
    if isinstance(operator, (ast.In, ast.NotIn)):
        found = _membership(left, right, text)
        return Not(found) if isinstance(operator, ast.NotIn) else found
    if type(operator) not in _OPERATORS:
        raise ConfigError(f'the filter "{text}": use one of == != < <= > >= in, and not "is".')
    sign = _OPERATORS[type(operator)]
    if isinstance(right, ast.Name) and not isinstance(left, ast.Name):
        left, right, sign = right, left, _TURNED.get(sign, sign)
    field = _field(left, text)
    if field == 'labels':
        raise ConfigError(f'the filter "{text}": write a label as "harbor" in labels.')
    return Compare(field, sign, _value(right, field, text))


def _membership(left, right, text):
    if isinstance(right, ast.Name) and right.id == 'labels':
        return Has(_value(left, 'labels', text))
    if not isinstance(right, (ast.List, ast.Tuple, ast.Set)) or not right.elts:
        raise ConfigError(
            f'the filter "{text}": "in" takes a list, such as sensor in ["S1", "S2"], or labels.'
        )
    field = _field(left, text)
    return Joined('or', tuple(Compare(field, '=', _value(e, field, text)) for e in right.elts))


def _field(node, text):
    name = node.id if isinstance(node, ast.Name) else ast.unparse(node)
    if name not in _KNOWN:
        raise ConfigError(
            f'the filter "{text}": a record has no field {name}'
            + (suggest(name, _KNOWN) or f'; it has {", ".join(_KNOWN)}.')
        )
    return name


def _value(node, field, text):
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        value = None
    wanted = str if field in (*TEXTS, 'labels') else (int, float)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise ConfigError(
            f'the filter "{text}": {field} is compared with '
            f'{"a text in quotes" if wanted is str else "a number"}, not {ast.unparse(node)}.'
        )
    if not isinstance(value, str) and not math.isfinite(value):
        raise ConfigError(f'the filter "{text}": {ast.unparse(node)} is not finite.')
    return value


def _box(bbox):
    if len(bbox) != 4 or not all(math.isfinite(edge) for edge in bbox):
        raise ConfigError(f'bbox={list(bbox)}: give west, south, east and north in degrees.')
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ConfigError(
            f'bbox={list(bbox)}: give west, south, east and north in degrees; south is not above '
            'north.'
        )
    if west > east:
        parts = (_box((west, south, 180, north)), _box((-180, south, east, north)))
        return Joined('or', parts)
    return Joined(
        'and',
        (
            Compare('west', '<=', east),
            Compare('east', '>=', west),
            Compare('south', '<=', north),
            Compare('north', '>=', south),
        ),
    )


def _date(text, option):
    if not re.fullmatch(r'\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?)?)?', text.strip()):
        raise ConfigError(f'{option}={text!r}: write a date as 2020, 2020-05 or 2020-05-31.')
    return text.strip().replace(' ', 'T')


def to_sql(condition: Condition) -> str:
    """Returns the condition in SQL for SQLite and Lance.

    Labels are one text in the column ``tags``, see :attr:`Record.tags`.
    """
    if isinstance(condition, Joined):
        parts = [f'({to_sql(part)})' for part in condition.parts]
        return f' {condition.operator.upper()} '.join(parts)
    if isinstance(condition, Not):
        return f'NOT ({to_sql(condition.part)})'
    if isinstance(condition, Has):
        # replace() exists in both dialects and has no wildcards
        tag = _quoted(joined((condition.label,)))
        return f"replace(tags, {tag}, '') != tags"
    return f'"{condition.field}" {condition.operator} {_quoted(condition.value)}'


def _quoted(value):
    if not isinstance(value, str):
        return repr(float(value)) if isinstance(value, float) else str(value)
    return "'" + value.replace("'", "''").replace('\0', '') + "'"


def to_milvus(condition: Condition) -> str:
    """Returns the condition in the expression language of Milvus."""
    if isinstance(condition, Joined):
        return f' {condition.operator} '.join(f'({to_milvus(part)})' for part in condition.parts)
    if isinstance(condition, Not):
        return f'not ({to_milvus(condition.part)})'
    if isinstance(condition, Has):
        return f'array_contains(labels, {json.dumps(condition.label, ensure_ascii=False)})'
    operator = '==' if condition.operator == '=' else condition.operator
    value = condition.value
    value = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return f'{condition.field} {operator} {value}'
