"""Local: the local stack, real servers out of wheels. For development and tests only."""
