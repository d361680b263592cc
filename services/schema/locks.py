"""Locks: the numbers of PostgreSQL's advisory locks, in one place so that no two are the same."""

from services.core.environments import Environment

MIGRATING = 4_021_960_031  # whoever migrates first; yoyo's own table would outlive a killed one
RELAYING = {Environment.LIVE: 4_021_960_032, Environment.SANDBOX: 4_021_960_033}
PUBLISHING = 4_021_960_034  # held by the one admin that posts configurations to the gateway
