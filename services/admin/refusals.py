"""Refusals: what an operator asked for and does not get, by what to do about it.

HTTP and the command line show the same message, which names the field and how to mend it.
"""


class RefusedError(Exception):
    """What was asked can't be done as it was asked."""


class InvalidError(RefusedError):
    """What was sent has not the right form."""


class NotFoundError(RefusedError):
    """There is no such thing."""


class ConflictError(RefusedError):
    """The thing is not in a state in which this can be done to it."""
