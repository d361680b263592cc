"""Audit: every change, who made it and when; its rows and routes."""
