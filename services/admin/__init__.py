"""Admin: partners, keys and the gateway's configuration; the only service that reads control."""
