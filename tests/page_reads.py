"""Page reads: how many pages of PostgreSQL's tables and indexes each statement of a program reads.

A program is given a connection that explains every statement before it runs it. So no list of
statements has to be kept: what a program runs is measured.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Self

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor, sql
from psycopg.abc import Params, Query

EXPLAINED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "


class PageReads:
    """The fewest pages that each statement has read, by its text."""

    def __init__(self) -> None:
        self.fewest: dict[str, int] = {}
        self._plans: dict[str, Any] = {}
        self.runs: defaultdict[str, int] = defaultdict(int)

    def of(self, connection: Connection[Any]) -> Connection[Any]:
        """Have a connection tell this what its statements read; return it."""
        reads = self

        class Explaining(Cursor[Any]):
            def execute(
                self, query: Query, params: Params | None = None, **more: bool | None
            ) -> Self:
                if text := explained(query):
                    with self.connection.transaction(force_rollback=True):
                        found = Cursor(self.connection).execute(EXPLAIN + text, params).fetchone()
                    reads.note(text, found)
                return super().execute(query, params, **more)

            def executemany(self, query: Query, params_seq: Iterable[Params], **_: bool) -> None:
                for params in params_seq:
                    self.execute(query, params)

        connection.cursor_factory = Explaining
        return connection

    def of_async(self, connection: AsyncConnection[Any]) -> AsyncConnection[Any]:
        """Do the same for a connection of asyncio."""
        reads = self

        class Explaining(AsyncCursor[Any]):
            async def execute(
                self, query: Query, params: Params | None = None, **more: bool | None
            ) -> Self:
                if text := explained(query):
                    async with self.connection.transaction(force_rollback=True):
                        plain = AsyncCursor(self.connection)
                        await plain.execute(EXPLAIN + text, params)
                        reads.note(text, await plain.fetchone())
                return await super().execute(query, params, **more)

        connection.cursor_factory = Explaining
        return connection

    def note(self, statement: str, row: Sequence[Any]) -> None:
        """Note one run of a statement."""
        plan = row[0][0]["Plan"]
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self.runs[statement] += 1
        if pages < self.fewest.get(statement, pages + 1):
            self.fewest[statement] = pages
            self._plans[statement] = plan

    def scanned(self, statement: str) -> list[str]:
        """Return the tables and indexes that the cheapest run has read, with the pages of each."""
        return list(_scans(self._plans[statement]))


def explained(query: Query) -> str:
    """Return a statement's text, nothing for one that PostgreSQL does not explain."""
    if isinstance(query, sql.Composable):
        query = query.as_bytes()
    text = query.decode() if isinstance(query, bytes) else str(query)
    return text if text.split(maxsplit=1)[0].upper() in EXPLAINED else ""


def _scans(plan: dict[str, Any]) -> Iterable[str]:
    name = plan.get("Index Name") or plan.get("Relation Name")
    if name:
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        yield f"{plan['Node Type']} {name}: {pages}"
    for child in plan.get("Plans", []):
        yield from _scans(child)
