"""Core: settings, logs, database, encryption, errors and HTTP; imports no service and no domain."""
