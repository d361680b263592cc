"""Relay: committed stock changes become events and deliveries."""
