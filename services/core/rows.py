"""Core: rows of PostgreSQL as Structs."""

from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from psycopg.rows import BaseRowFactory, RowMaker, dict_row

S = TypeVar("S", bound=msgspec.Struct)

_AS_THEY_ARE = (bytes, datetime, timedelta, UUID)  # types that psycopg reads, too


def struct_row(kind: type[S]) -> BaseRowFactory[S]:
    """Return a row factory whose rows are Structs, with texts converted to the fields' enums."""

    def make(cursor: Any) -> RowMaker[S]:  # noqa: ANN401 -- synchronous or not
        as_dict = dict_row(cursor)

        def row(values: Any) -> S:  # noqa: ANN401 -- of any types
            return msgspec.convert(as_dict(values), kind, builtin_types=_AS_THEY_ARE)

        return row

    return make
