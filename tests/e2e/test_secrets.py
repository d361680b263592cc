"""No secret is left lying about: printed, logged, stored or answered, but where it must be.

It must be in the one answer that creates it, in the gateway's memory and its folder (mode 0700),
and, on a laptop, in the stack's keys.json and secrets.json (mode 0600; docs/operations.md).
"""

import base64
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import valkey

from services.core.environments import Environment
from services.local.state import StateFolder, database_url
from tests.e2e.conftest import SANDBOX_HOST, WEBHOOKS, LocalStack, register
from tools.processes import descendants

PARTNER_SECRET = "a-text-that-a-partner-chose-as-its-secret"
ALLOWED = {"keys.json", "secrets.json"}  # and the folder of the gateway


class Listener:
    """Everything that was said to anybody, and the secrets that must not be in it."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.secrets: dict[str, str] = {}
        self.said: list[tuple[str, str]] = []

    def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command, remember what it printed."""
        done = self.stack.run(*words)
        assert done.returncode in codes, (words, done.returncode, done.stderr)
        self.said += [(" ".join(words), done.stdout), (" ".join(words), done.stderr)]
        return done.stdout

    def make(self, name: str, *words: str) -> str:
        """Run a command that shows a new secret, alone on standard output."""
        done = self.stack.run(*words)
        assert done.returncode == 0, (words, done.stderr)
        self.said.append((" ".join(words), done.stderr))
        self.secrets[name] = done.stdout.strip()
        return self.secrets[name]

    def hear(self, answer: httpx.Response) -> httpx.Response:
        """Remember an answer."""
        self.said.append((f"{answer.request.method} {answer.request.url}", answer.text))
        self.said.append((f"{answer.request.url} headers", str(answer.headers)))
        return answer

    def found_in(self, what: bytes) -> list[str]:
        """Return the names of the secrets that are in a text, in one form or another."""
        return [
            name
            for name, secret in self.secrets.items()
            if any(form in what for form in forms(secret))
        ]


def forms(secret: str) -> Iterator[bytes]:
    """Yield how a secret may be written."""
    yield secret.encode()
    if secret.startswith("whsec_"):
        key = secret.removeprefix("whsec_")
        yield key.encode()
        yield base64.b64decode(key)
    else:
        yield base64.b64encode(secret.encode()).rstrip(b"=")


def stacks_own(stack: LocalStack) -> dict[str, str]:
    """Return the secrets that the stack made."""
    secrets = json.loads((stack.state_dir / "secrets.json").read_text())
    keys = json.loads((stack.state_dir / "keys.json").read_text())
    return {
        "master key": secrets["master_key"],
        "backend token": secrets["backend_token"],
        **{f"password of {role}": word for role, word in secrets["passwords"].items()},
        **{f"{e} key of {p}": key for p, both in keys.items() for e, key in both.items()},
    }


def operations_use_everything(listener: Listener) -> None:
    """Do what operations do, on the command line and over HTTP."""
    run = listener.run
    run("partners", "create", "acme", "--tier", "basic", "--contact", "dev@acme.example")
    for environment in Environment:
        key = listener.make(f"{environment} key", "keys", "create", "acme", "--env", environment)
        run("keys", "show", key[:12])
        listener.make(f"rotated {environment} key", "keys", "rotate", key[:12])
        run("keys", "revoke", key[:12], "--yes")
    for words in ("partners list", "partners show acme", "keys list", "audit list", "tokens list"):
        run(*words.split())
        run(*words.split(), "--json")
    run("gateway", "render")
    run("gateway", "status", codes=(0, 3))
    run("gateway", "diff", codes=(0, 1))
    run("gateway", "publish")
    run("gateway", "explain", "/partner/v1/inventory", "--env", "live", "--partner", "acme")
    token = listener.make("token", "tokens", "create", "bot", "--role", "operator")
    base = f"http://127.0.0.1:{listener.stack.base + 100}/admin/v1"
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=base, headers=headers, trust_env=False) as client:
        for path in ("partners", "keys", "tokens", "audit", "gateway", "live/endpoints"):
            assert listener.hear(client.get(f"/{path}")).status_code == 200, path
        made = client.post("/partners/acme/keys", json={"environment": "live"}).json()
        listener.secrets["key made over HTTP"] = secret_of(made)
        listener.hear(client.get("/keys", params={"partner": "acme"}))
        listener.hear(client.get(f"/keys/{token}"))
        listener.hear(client.post("/tokens", json={"name": token, "role": "viewer"}))
        # Pasted into the wrong field: PostgreSQL would log the whole row of a check that fails.
        made_key = listener.secrets["key made over HTTP"]
        for wrong in ({"name": made_key}, {"contact": made_key}, {"tier": made_key}):
            new = {"name": "beta", "tier": "basic", "contact": "dev@beta.example", **wrong}
            assert client.post("/partners", json=new).status_code in {400, 409}
            assert client.patch("/partners/acme", json=wrong).status_code in {400, 409}


def secret_of(made: dict[str, Any]) -> str:
    return next(value for value in made.values() if str(value).startswith("pk_"))


def partners_use_everything(listener: Listener) -> None:
    """Do what partners do, and what they do wrong."""
    stack = listener.stack
    key = stack.key("sandbox")
    made = register(stack, key, "http://127.0.0.1:9/dead", host=SANDBOX_HOST)
    listener.secrets["webhook secret"] = made["secret"]
    with stack.partner(key, host=SANDBOX_HOST) as client:
        path = f"{WEBHOOKS}/{made['id']}"
        chosen = {"secret": PARTNER_SECRET}
        rotated = client.post(f"{path}/secret/rotate", json=chosen)
        assert rotated.status_code == 200, rotated.text
        listener.secrets["chosen webhook secret"] = PARTNER_SECRET
        for answer in (client.get(WEBHOOKS), client.get(path), client.post(f"{path}/ping")):
            listener.hear(answer)
        listener.hear(client.get(f"{path}/deliveries"))
    gateway = f"http://127.0.0.1:{stack.base}"
    for environment, host in (("live", "localhost"), ("sandbox", SANDBOX_HOST)):
        sent = {"Host": host, "X-API-Key": stack.key(environment)}
        for url in (
            "/partner/v1/inventory?product_ids=",
            "/partner/v1/nothing",
            "/partner/v1/docs",
        ):
            listener.hear(httpx.get(gateway + url, headers=sent, trust_env=False))
        wrong = {"Host": host, "X-API-Key": stack.key(environment)[:-1] + "!"}
        listener.hear(httpx.get(f"{gateway}/partner/v1/webhooks", headers=wrong, trust_env=False))


def grep_processes(listener: Listener) -> list[str]:
    """Look at every process's command line, which all users of a machine can read."""
    return [
        f"the command line of process {each.pid}: {found}"
        for each in descendants(int(listener.stack.status()["supervisor"]["pid"]))
        if (found := listener.found_in(Path(f"/proc/{each.pid}/cmdline").read_bytes()))
    ]


def grep_databases(listener: Listener) -> list[str]:
    """Look at every row of PostgreSQL and every key of Valkey."""
    places: list[str] = []
    stack = listener.stack
    folder = StateFolder(stack.state_dir)
    secrets = folder.secrets()
    assert secrets is not None
    with psycopg.connect(database_url(stack.base + 54, "admin", secrets)) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('control', 'live', 'sandbox')"
            " AND has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')"
        ).fetchall()
        assert len(tables) > 15
        for (table,) in tables:
            for (row,) in connection.execute(f"SELECT t::text FROM {table} t").fetchall():  # pyright: ignore[reportArgumentType, reportCallIssue]
                if found := listener.found_in(row.encode()):
                    places.append(f"{table}: {found}")
    for database in range(3):
        with valkey.Valkey(port=stack.base + 63, db=database) as store:
            places += [
                f"Valkey {database} {name!r}: {found}"
                for name in store.scan_iter()
                if (found := listener.found_in(name + b" " + (store.dump(name) or b"")))
            ]
    return places


def grep_files(listener: Listener) -> list[str]:
    """Look at every byte that the stack left in its folder."""
    places: list[str] = []
    for path in listener.stack.state_dir.rglob("*"):
        inside = path.relative_to(listener.stack.state_dir)
        if not path.is_file() or path.name in ALLOWED or inside.parts[0] == "gateway":
            continue
        if found := listener.found_in(path.read_bytes()):
            places.append(f"{inside}: {found}")
    return places


@pytest.mark.long
@pytest.mark.timeout(170)
def test_no_secret_is_printed_logged_stored_or_answered(own_stack: LocalStack) -> None:
    own_stack.started()
    listener = Listener(own_stack)
    listener.secrets |= stacks_own(own_stack)
    operations_use_everything(listener)
    partners_use_everything(listener)
    places = grep_processes(listener) + grep_databases(listener)
    assert own_stack.run("down").returncode == 0
    places += [
        f"{what}: {found}"
        for what, text in listener.said
        if (found := listener.found_in(text.encode()))
    ]
    places += grep_files(listener)
    assert len(listener.secrets) >= 20
    assert not places, "\n".join(places)
    check_the_gateways_folder(listener)


def check_the_gateways_folder(listener: Listener) -> None:
    """The one place that holds working keys: closed to others, and proof that the search finds."""
    folder = listener.stack.state_dir / "gateway"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert "rotated live key" in listener.found_in(content)
    assert "live key" not in listener.found_in(content)
    for name in ALLOWED:
        mode = stat.S_IMODE(os.stat(listener.stack.state_dir / name).st_mode)  # noqa: PTH116
        assert mode == 0o600, name
