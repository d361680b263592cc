"""System user: who runs a command, for the audit log."""

import os
import pwd

from services.admin.audit.rows import Actor


def this_actor() -> Actor:
    """Return who runs this command, as the operating system knows them."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run as a user that its image does not list
        name = f"uid-{uid}"
    return Actor(f"cli:{name}")
