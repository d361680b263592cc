"""Kernel: what two services need or outsiders see. A closed list; it imports no service."""
