"""System user: who runs a command, as the operating system knows them by their uid.

LOGNAME and USER say what anybody puts into them, and are not asked.
"""

import os
import pwd

from services.core.external_text import visible

OS_USER_MOST = 100  # characters


def os_user() -> str:
    """Return the name of this process's user, cut and marked where the audit log can't keep it."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run as a user that its image does not list
        name = f"uid-{uid}"
    return visible(name[:OS_USER_MOST])
