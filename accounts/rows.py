"""Rows of models out of statements written out: what Django's own queries do, without building the query each time."""

from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Field, Model

Row = TypeVar("Row", bound=Model)


@cache
def fields(kind: type[Model], *without: str) -> "tuple[Field[Any, Any], ...]":
    """The columns of a model in their order, without those of these names, which then are deferred."""
    return tuple(field for field in kind._meta.concrete_fields if field.attname not in without)


def columns(kind: type[Model], *without: str) -> str:
    """The same as SQL: `table.column, …`."""
    return ", ".join(f"{kind._meta.db_table}.{field.column}" for field in fields(kind, *without))


def read(kind: type[Row], values: Iterator[Any], *without: str) -> Row | None:
    """The next row of this kind out of a joined one; None where its key is NULL, as of an outer join."""
    wanted = fields(kind, *without)
    found = [next(values) for _ in wanted]
    if found[0] is None:
        return None
    shown = [
        field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
        for field, value in zip(wanted, found, strict=True)
    ]
    return kind.from_db("default", [field.attname for field in wanted], shown)
