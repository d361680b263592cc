"""Schema: the one PostgreSQL database, schemas live, sandbox and control; migrations and seed."""
