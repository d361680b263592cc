"""Monitoring: what the programs in the background count, and the port that shows it (D4)."""
