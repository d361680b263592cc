"""Summary: what a person needs to know of a stack that is up; reads well in a pipe too."""

import itertools

from services.core.environments import Environment
from services.core.headers import API_KEY
from services.local.program import HOST
from services.local.provision import TECHMART
from services.local.state import StackRecord, StateFolder, mail_folder
from services.local.webhook_programs import LIVE_RETRY_DELAYS_TOLD, sandbox_delays_told
from services.schema.seed import products


def summary(record: StackRecord, folder: StateFolder, *, detached: bool) -> str:
    """Return the lines that `partnerapi up` prints."""
    keys = folder.keys()[TECHMART.name]
    rows = {**_addresses(record, folder), **_keys(keys)}
    lines = [f"Partner Inventory Sync is up ({record.seconds:.1f} s).", ""]
    lines += [f"  {name:<16}{value}" for name, value in rows.items()]
    if "gateway" in record.urls:
        lines += ["", "Try it:", f"  {curl_line(record.urls['gateway'], keys['live'])}"]
    end = f"`partnerapi down{folder.option}` ends it" if detached else "Ctrl-C ends it"
    lines += ["", f"{end}; `partnerapi demo{folder.option}` shows what it does."]
    return "\n".join(lines)


def _addresses(record: StackRecord, folder: StateFolder) -> dict[str, str]:
    product, _ = next(products(Environment.LIVE))
    internal = f"{record.urls['internal-live']}/api/v1/products/{product}/stock"
    token = f"{folder.variable}partnerapi tokens create me --role operator"
    rows = {"gateway": record.admin["KONG_ADMIN_URLS"] + "  (running nodes)"}
    if "gateway" in record.urls:
        rows = {
            "live": record.urls["gateway"],
            "sandbox": f"{record.urls['gateway']}  with the header `Host: sandbox-api.localhost`",
            "gateway admin": record.urls["gateway-admin"],
        }
    return {
        **rows,
        "internal stock": internal,
        "admin": f"{record.urls['admin']}/admin/v1/docs  (a token: `{token}`)",
        "PostgreSQL": f"{HOST}:{record.ports['postgres']}",
        "Valkey": f"{HOST}:{record.ports['valkey']}",
        "sandbox retries": f"after about {sandbox_delays_told()} (live: {LIVE_RETRY_DELAYS_TOLD})",
        "mail": f"{mail_folder(folder.path)}  (what partners' contacts are sent)",
        "state, logs": str(folder.path),
    }


def _keys(keys: dict[str, str]) -> dict[str, str]:
    return {f"{name} key": f"{key}  ({TECHMART.name})" for name, key in keys.items()}


def curl_line(gateway: str, key: str) -> str:
    """Return a command that shows the stock of three products."""
    ids = ",".join(product for product, _ in itertools.islice(products(Environment.LIVE), 3))
    return f"curl -H '{API_KEY}: {key}' '{gateway}/partner/v1/inventory?product_ids={ids}'"
