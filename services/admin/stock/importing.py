"""Stock, its import: a daily file becomes changes, in batches that hold nobody up.

file -> lines (csv.py) -> scratch by product (scratch.py) -> short transactions here. The
schema's triggers number each change and write the outbox, as for any other writer.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any, LiteralString
from uuid import UUID

import msgspec
import psycopg
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.refusals import ConflictError, InvalidError
from services.admin.stock.csv import Good, StockFile, Wrong
from services.admin.stock.scratch import Scratch, Wanted
from services.admin.stock.visible import invisible_fault
from services.core.environments import Environment
from services.core.external_text import check_text
from services.core.wording import counted

BATCH = 500  # products of a transaction: about 30 ms, during which it locks what it changes
# Changes a second; the relay carries about 4,500, and other changes wait behind an import's (W6).
RATE = 4_000
RATE_MOST = 1_000_000
TRIES = 5  # of a batch that lost to a removal or a deadlock
LISTED_MOST = 1_000  # refused lines that a report names

Progress = Callable[[int, int], None]  # takes lines done, and lines in all


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is taken."""

    add: bool = False  # add products that there are not yet; else their lines are refused
    all_or_nothing: bool = False
    dry_run: bool = False
    allow_unterminated: bool = False  # take a file whose last line has no line end
    confirm_zeroing: bool = False  # set more than half of what is in stock to 0
    rate: int = RATE  # changes a second at most

    def __post_init__(self) -> None:
        """Raise InvalidError for a rate that is no rate."""
        if not 1 <= self.rate <= RATE_MOST:
            msg = f"`rate` must be a whole number from 1 to {RATE_MOST}"
            raise InvalidError(msg)


class RefusedLine(msgspec.Struct, frozen=True, order=True):
    """A line that was not taken."""

    line: int
    reason: str


class ImportReport(msgspec.Struct, kw_only=True):
    """What became of a file: read = changed + unchanged + added + refused + not_reached."""

    file: str
    sha256: str
    dry_run: bool
    written: bool  # false: the numbers are what would have been
    read: int = 0  # lines with something in them, without the header
    skipped: int = 0  # blank lines, and the header
    changed: int = 0
    unchanged: int = 0  # a line that repeats another one is among them
    added: int = 0
    refused: int = 0
    not_reached: int = 0  # of a run that broke off
    broken_off: str | None = None  # why
    seconds: float = 0.0
    refused_lines: list[RefusedLine] = msgspec.field(default_factory=list["RefusedLine"])
    refused_lines_left_out: int = 0


class BrokenOffError(Exception):
    """An import ended before its end; the message says how far it came."""

    def __init__(self, report: ImportReport, *, noted: bool) -> None:
        """`noted` says whether the audit log has its end."""
        taken = report.changed + report.unchanged + report.added
        super().__init__(
            f"broken off ({report.broken_off}): {counted(taken, 'line was', 'lines were')} taken,"
            f" {report.changed} changed and {report.added} added among them, and"
            f" {report.not_reached} not reached."
            " Run it again: what is set already is unchanged then."
            + ("" if noted else " The audit log has only the beginning of this run.")
        )
        self.report = report


class _StoppedError(Exception):
    """The program is asked to end."""


ENDINGS = (psycopg.Error, KeyboardInterrupt, _StoppedError, ConflictError)  # no fault of the code


class Import:
    """One run over one file; between two batches it holds no connection."""

    def __init__(
        self,
        admin: Admin,
        actor: Actor,
        environment: Environment,
        options: ImportOptions,
        *,
        progress: Progress = lambda _done, _total: None,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`stopping` is asked between batches, `clock` and `sleep` are in seconds."""
        self._admin = admin
        self._actor = actor
        self._environment = environment
        self._options = options
        self._progress = progress
        self._stopping = stopping
        self._clock = clock
        self._sleep = sleep

    def run(self, source: IO[bytes], name: str) -> ImportReport:
        """Take a file. Raises InvalidError when it is no such file, ConflictError, BrokenOffError.

        Raises ExternalTextError for a name that the audit log can't keep.
        """
        began = self._clock()
        check_text("file_name", name)
        report = ImportReport(file=name, sha256="", dry_run=self._options.dry_run, written=False)
        with Scratch() as scratch:
            self._read(source, scratch, report)
            if not self._options.confirm_zeroing:
                self._refuse_zeroing(scratch)
            if self._options.dry_run or self._options.all_or_nothing:
                looked = msgspec.structs.replace(report, refused_lines=[*report.refused_lines])
                self._go_through(scratch, looked, self._look)
                if self._options.dry_run or looked.refused:
                    return self._finished(looked, began)
            report.written = True
            self._write(scratch, report, began)
        return report

    def _read(self, source: IO[bytes], scratch: Scratch, report: ImportReport) -> None:
        file = StockFile(source)
        for told in file.lines():
            if isinstance(told, Good):
                report.read += 1
                scratch.add(told)
            elif isinstance(told, Wrong):
                report.read += 1
                refuse(report, told.line, told.reason)
            else:
                report.skipped += 1
        scratch.flush()
        for wrong in scratch.take_out_contradictions():
            refuse(report, wrong.line, wrong.reason)
        report.sha256 = file.sha256
        if report.read == 0:
            msg = "the file has no line with a product"
            raise InvalidError(msg)
        if not file.is_terminated and not self._options.allow_unterminated:
            msg = (
                f"line {report.read + report.skipped}, the last one, has no line end, so the file"
                " may be cut: if it is whole, send allow_unterminated=true (--allow-unterminated)"
            )
            raise InvalidError(msg)

    def _refuse_zeroing(self, scratch: Scratch) -> None:
        """Raise ConflictError for a file that sets more than half of what is in stock to 0."""
        emptied = 0
        with self._admin.reading(self._environment) as connection:
            in_stock = connection.execute(COUNT_IN_STOCK).fetchall()[0][0]
            for ids in scratch.zeros():
                values = {"ids": ids}
                emptied += connection.execute(COUNT_THESE_IN_STOCK, values).fetchall()[0][0]
        if 2 * emptied > in_stock:
            msg = (
                f"the file would set {emptied:,} of the {counted(in_stock, 'product')} that"
                f" {self._environment} has in stock to 0: if that is right, send"
                " confirm_zeroing=true (--yes)"
            )
            raise ConflictError(msg)

    def _write(self, scratch: Scratch, report: ImportReport, began: float) -> None:
        """Write every batch, and a line in the audit log before the first and after the last.

        A line that it began without one that it ended: the process died in between.
        """
        beginning = self._note_beginning(report)
        try:
            self._go_through(scratch, report, self._set)
            self._finished(report, began)
            self._note_end(report, beginning)
        except BaseException as exc:
            report.broken_off = (str(exc) or type(exc).__name__).splitlines()[0]
            self._finished(report, began)
            noted = self._noted(report, beginning)
            if isinstance(exc, ENDINGS):
                raise BrokenOffError(report, noted=noted) from exc
            raise

    def _go_through(
        self,
        scratch: Scratch,
        report: ImportReport,
        take: Callable[[Sequence[Wanted]], "Outcome"],
    ) -> None:
        report.not_reached = total = scratch.count()
        for batch in scratch.batches(BATCH):
            if self._stopping():
                msg = "the program is ending"
                raise _StoppedError(msg)
            outcome = take(batch)
            self._tally(scratch, report, batch, outcome)
            self._progress(total - report.not_reached, total)

    def _tally(
        self, scratch: Scratch, report: ImportReport, batch: Sequence[Wanted], outcome: "Outcome"
    ) -> None:
        before = report.refused
        for line, product_id in scratch.lines_of(outcome.unknown):
            refuse(report, line, invisible_fault(product_id) or self._unknown(product_id))
        lines = sum(wanted.lines for wanted in batch)
        report.changed += outcome.changed
        report.added += outcome.added
        report.unchanged += lines - outcome.changed - outcome.added - (report.refused - before)
        report.not_reached -= lines

    def _unknown(self, product_id: str) -> str:
        words = f"there is no product {product_id} in {self._environment}"
        return f"{words}: it is added when the import is told to add products"

    def _look(self, batch: Sequence[Wanted]) -> "Outcome":
        """Say what `_set` would do."""
        ids = [wanted.product_id for wanted in batch]
        with self._admin.reading(self._environment) as connection:
            rows = connection.execute(SELECT_PRESENT, {"ids": ids}).fetchall()
        present: dict[str, int] = dict(rows)
        new = [product_id for product_id in ids if product_id not in present]
        changed = sum(
            present.get(wanted.product_id, wanted.quantity) != wanted.quantity for wanted in batch
        )
        addable, refused = _split(new) if self._options.add else ([], new)
        return Outcome(changed, len(addable), refused)

    def _set(self, batch: Sequence[Wanted]) -> "Outcome":
        """Write a batch in a transaction of its own."""
        began = self._clock()
        for _ in range(TRIES):
            try:
                with self._admin.changing(self._actor, self._environment) as change:
                    rows = self._execute(change.connection, batch)
            except (errors.SerializationFailure, errors.DeadlockDetected):
                continue
            outcome = outcome_of(rows)
            due = (outcome.changed + outcome.added) / self._options.rate
            self._sleep(max(0.0, due - (self._clock() - began)))
            return outcome
        msg = f"{batch[0].product_id} to {batch[-1].product_id} lost {TRIES} times to others"
        raise ConflictError(msg)

    def _execute(
        self, connection: Connection[TupleRow], batch: Sequence[Wanted]
    ) -> list[tuple[Any, ...]]:
        """Write a batch; return rows of (outcome, product id)."""
        quantities = {wanted.product_id: wanted.quantity for wanted in batch}
        addable, known = _split(quantities) if self._options.add else ([], list(quantities))
        steps: list[tuple[LiteralString, list[str]]] = [(SET_OR_ADD, addable), (SET_KNOWN, known)]
        rows: list[tuple[Any, ...]] = []
        for statement, ids in steps:
            values = {"ids": ids, "quantities": [quantities[product_id] for product_id in ids]}
            rows += connection.execute(statement, values).fetchall() if ids else []
        return rows

    def _finished(self, report: ImportReport, began: float) -> ImportReport:
        report.refused_lines = sorted(report.refused_lines)[:LISTED_MOST]
        report.refused_lines_left_out = report.refused - len(report.refused_lines)
        report.seconds = round(self._clock() - began, 3)
        return report

    def _noted(self, report: ImportReport, beginning: UUID) -> bool:
        """Note a run that broke off; say whether that could be done."""
        try:
            self._note_end(report, beginning)
        except psycopg.Error:
            return False
        return True

    def _note_beginning(self, report: ImportReport) -> UUID:
        told = {"file": report.file, "sha256": report.sha256, "read": report.read}
        return self._note("stock.import_began", told)

    def _note_end(self, report: ImportReport, beginning: UUID) -> None:
        told: dict[str, Any] = msgspec.to_builtins(report)
        for field in ("refused_lines", "refused_lines_left_out", "dry_run", "written"):
            del told[field]
        self._note("stock.imported", {**told, "began": beginning})

    def _note(self, action: str, told: dict[str, Any]) -> UUID:
        after = {**told, "options": self._options}
        with self._admin.changing(self._actor) as change:
            return change.record(action, f"stock:{self._environment}", after=after)


def _split(ids: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the ids that may be added as new products, and those that may not."""
    found: tuple[list[str], list[str]] = ([], [])
    for product_id in ids:
        found[invisible_fault(product_id) is not None].append(product_id)
    return found


class Outcome(msgspec.Struct, frozen=True):
    """What became of the products of a batch; the rest of them were as the file says."""

    changed: int
    added: int
    unknown: Sequence[str]


def outcome_of(rows: Sequence[tuple[Any, ...]]) -> Outcome:
    """Return the outcome that a statement below tells in rows of (outcome, product id)."""
    told: dict[str, list[str]] = {"changed": [], "added": [], "unknown": []}
    for outcome, product_id in rows:
        told[outcome].append(product_id)
    return Outcome(len(told["changed"]), len(told["added"]), told["unknown"])


def refuse(report: ImportReport, line: int, reason: str) -> None:
    """Count a refused line, and keep it if it may be among the first ones."""
    report.refused += 1
    report.refused_lines.append(RefusedLine(line, reason))
    if len(report.refused_lines) >= 2 * LISTED_MOST:
        report.refused_lines = sorted(report.refused_lines)[:LISTED_MOST]


COUNT_IN_STOCK = "SELECT count(*) FROM products WHERE quantity > 0"

COUNT_THESE_IN_STOCK = """
SELECT count(*) FROM products WHERE quantity > 0 AND product_id = ANY(%(ids)s)
"""

SELECT_PRESENT = """
SELECT product_id, quantity FROM products WHERE product_id = ANY(%(ids)s)
"""

# Rows are locked by product_id, so that two imports wait for each other in one direction only. One
# that became right, or was removed, between the look and the lock is left as it is.
SET_KNOWN = """
WITH batch AS MATERIALIZED (
    SELECT product_id, given.quantity, products.quantity AS present
    FROM unnest(%(ids)s::text[], %(quantities)s::integer[]) AS given (product_id, quantity)
    LEFT JOIN products USING (product_id)
), locked AS MATERIALIZED (
    SELECT products.product_id, batch.quantity
    FROM batch JOIN products USING (product_id)
    WHERE batch.present <> batch.quantity AND products.quantity <> batch.quantity
    ORDER BY products.product_id FOR UPDATE OF products
), changed AS (
    UPDATE products SET quantity = locked.quantity
    FROM locked WHERE products.product_id = locked.product_id
    RETURNING products.product_id
)
SELECT 'changed', product_id FROM changed
UNION ALL SELECT 'unknown', product_id FROM batch WHERE present IS NULL
"""

SET_OR_ADD = """
INSERT INTO products (product_id, quantity)
SELECT product_id, given.quantity
FROM unnest(%(ids)s::text[], %(quantities)s::integer[]) AS given (product_id, quantity)
LEFT JOIN products AS present USING (product_id)
WHERE present.quantity IS DISTINCT FROM given.quantity
ORDER BY product_id
ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity
    WHERE products.quantity <> excluded.quantity
RETURNING CASE WHEN old.product_id IS NULL THEN 'added' ELSE 'changed' END, new.product_id
"""
