"""Settings: what `partnerapi database migrate` is told by its environment."""

import msgspec

from services.core.settings import PostgresUrl


class MigrateSettings(msgspec.Struct, kw_only=True):
    """The owner's address, and that of each role in migrate.ROLES as its service has it."""

    # PostgreSQL as the owner of the database, who may create roles and schemas. Secret.
    owner_database_url: PostgresUrl
    admin_database_url: PostgresUrl  # admin's; its password is set. Secret.
    # The query service's; its password is set. Secret.
    live_query_database_url: PostgresUrl
    # That of whoever writes stock by SQL; its password is set. Secret.
    live_stock_database_url: PostgresUrl
    # The webhook programs'; its password is set. Secret.
    live_webhooks_database_url: PostgresUrl
    # The query service's; its password is set. Secret.
    sandbox_query_database_url: PostgresUrl
    # That of whoever writes stock by SQL; its password is set. Secret.
    sandbox_stock_database_url: PostgresUrl
    # The webhook programs'; its password is set. Secret.
    sandbox_webhooks_database_url: PostgresUrl
