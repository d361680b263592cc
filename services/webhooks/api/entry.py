"""Entry: the composition root of the partners' API; `python -m services.webhooks api`."""

import os
import sys

from services.core.encryption import MasterKeyError
from services.core.http.serving import PortTakenError, listen, serve
from services.core.logs import configure_logs
from services.core.settings import SettingsError
from services.webhooks.api.build import build_api
from services.webhooks.settings import ApiSettings, load


def main() -> None:
    """Serve partners until SIGTERM."""
    try:
        settings = load(ApiSettings, os.environ)
        app = build_api(settings)
        listener = listen(settings.host, settings.port)
    except (SettingsError, MasterKeyError) as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(2)
    except PortTakenError as exc:
        sys.stderr.write(f"webhooks api: {exc}\n")
        sys.exit(1)
    configure_logs(settings.log_format, service="webhooks api", environment=settings.environment)
    if not serve(app, listener):
        sys.exit(1)
