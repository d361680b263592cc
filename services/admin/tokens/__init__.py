"""Tokens: who may call admin's API, and in which role."""
