"""Delta sync: an index that has the outbox in the order in which its pages are read (Q13).

By xid alone each page of a transaction that changed 100,000 products would sort all of them. The
other reader of it, query/changes.py, asks for xid alone and uses the new one as well.

A million rows take about a second, in which nobody can change stock.
"""

from yoyo import step

__depends__ = {"0005.admin"}

INDEX = """
DROP INDEX {env}.stock_changes_xid;
CREATE INDEX stock_changes_xid ON {env}.stock_changes (xid, id);
"""

UNDO = """
DROP INDEX {env}.stock_changes_xid;
CREATE INDEX stock_changes_xid ON {env}.stock_changes (xid);
"""

steps = [step(INDEX.format(env=env), UNDO.format(env=env)) for env in ("live", "sandbox")]
