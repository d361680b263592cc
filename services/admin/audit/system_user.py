"""System user: who runs a command, as the operating system knows them by their uid.

LOGNAME and USER say what anybody puts into them, and are not asked.
"""

import os
import pwd


def os_user() -> str:
    """Return the name of this process's user."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run as a user that its image does not list
        return f"uid-{uid}"
