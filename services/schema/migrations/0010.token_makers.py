"""Token makers: which token made a token over HTTP; null: it was made on the command line.

Revoking a token revokes what it made. The audit log says who made those that are there already: an
entry has the time of its transaction, as the token has. An expansion: programs of the release
before name their columns and make tokens without a maker.
"""

from yoyo import step

__depends__ = {"0007.request_ids"}

COLUMN = """
SET LOCAL lock_timeout = '2s';
ALTER TABLE control.tokens ADD COLUMN made_by uuid;
"""

UNDO = "ALTER TABLE control.tokens DROP COLUMN made_by"

MAKERS = """
UPDATE control.tokens SET made_by = makers.id
FROM control.audit, control.tokens AS makers
WHERE audit.target = 'token:' || tokens.name AND audit.action = 'token.created'
    AND audit.at = tokens.created_at AND audit.actor = 'token:' || makers.name
    AND makers.created_at < tokens.created_at
    AND (makers.revoked_at IS NULL OR makers.revoked_at >= tokens.created_at)
"""

steps = [step(COLUMN, UNDO), step(MAKERS)]
