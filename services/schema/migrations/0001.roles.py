"""A role for each service and environment; none may log in until it is given a password.

Roles belong to the whole server, so that a second database on it finds them there already.
"""

from yoyo import step

ROLES = (
    "admin",
    "live_query",
    "live_stock",
    "live_webhooks",
    "sandbox_query",
    "sandbox_stock",
    "sandbox_webhooks",
)

CREATE_ROLE = """
DO $$
BEGIN
    CREATE ROLE {role} LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$
"""

steps = [step(CREATE_ROLE.format(role=role)) for role in ROLES]
steps.append(step("REVOKE ALL ON SCHEMA public FROM PUBLIC"))
