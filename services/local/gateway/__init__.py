"""Gateway: a stand-in for Kong 3.9.3 DB-less, reads the same file; for development and tests."""
