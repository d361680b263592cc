"""Texts: what a technical contact reads: what failed, since when, and how to replay (W8)."""

from typing import NamedTuple
from urllib.parse import urlsplit

from services.core.environments import Environment
from services.core.timestamps import rfc3339
from services.core.wording import counted
from services.webhooks.delivery.schedule import MAX_ATTEMPTS
from services.webhooks.mail.store import Mail
from services.webhooks.words import MailKind

API_URLS = {
    Environment.LIVE: "https://api.inventory.example",
    Environment.SANDBOX: "https://sandbox-api.inventory.example",
}
LONGEST_REASON, LONGEST_HOST = 300, 100  # characters of what comes from outside

KEY = '-H "X-API-Key: $API_KEY"'
JSON = '-H "Content-Type: application/json"'


class _Words(NamedTuple):
    subject: str
    what: str
    then: str


WORDS = {
    MailKind.INCIDENT_OPENED: _Words(
        "Webhook failing",
        "our calls to your webhook fail.",
        f"An event is given up after {MAX_ATTEMPTS} attempts. New events are still sent, each with"
        f"\n{MAX_ATTEMPTS} attempts of its own. You get one more mail when a call succeeds again."
        "\nA webhook that does nothing but fail for days is disabled, with a mail.",
    ),
    MailKind.INCIDENT_CLOSED: _Words(
        "Webhook working again",
        "a call to your webhook has succeeded again.",
        "New events are sent as usual. Events that were given up meanwhile are not sent\n"
        "again unless you ask for them.",
    ),
    MailKind.ENDPOINT_GONE: _Words(
        "Webhook disabled: it answered 410 Gone",
        "your webhook answered 410 Gone, which tells us to stop calling it. We have\ndisabled it.",
        "Nothing is sent to it until you enable it again.",
    ),
    MailKind.ENDPOINT_DISABLED: _Words(
        "Webhook disabled: it kept failing",
        "every call to your webhook has failed for days. We have disabled it.",
        "Nothing is sent to it until you enable it again.",
    ),
}


def subject(mail: Mail, environment: Environment) -> str:
    """Return the subject line, which names the endpoint's host."""
    marker = "" if environment is Environment.LIVE else f"[{environment}] "
    return f"{marker}{WORDS[mail.kind].subject} ({_host(mail.url)})"


def body(mail: Mail, environment: Environment, *, api_url: str) -> str:
    """Return the text; lines of commands can be pasted into a shell."""
    words = WORDS[mail.kind]
    parts = [f"Hello {one_line(mail.partner)},", words.what, _facts(mail, environment)]
    return "\n\n".join([*parts, words.then, _steps(mail, api_url)]) + "\n"


def one_line(text: str, longest: int = LONGEST_REASON) -> str:
    """Return text on one line: what comes from outside can't add lines of its own."""
    visible = "".join(each if each.isprintable() else " " for each in text)
    return visible if len(visible) <= longest else f"{visible[:longest]}..."


def _host(url: str) -> str:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    return one_line(host, LONGEST_HOST) or "unknown host"


def _facts(mail: Mail, environment: Environment) -> str:
    facts = {
        "webhook": str(mail.endpoint_id),
        "address": one_line(mail.url, longest=2_048),
        "environment": str(environment),
        "failing since": rfc3339(mail.since),
    }
    if mail.reason:
        facts["last failure"] = one_line(mail.reason)
    if mail.missed:
        facts["given up"] = f"{counted(mail.missed, 'event')} so far"
    return "\n".join(f"  {name:<14} {value}" for name, value in facts.items())


def _steps(mail: Mail, api_url: str) -> str:
    """Return what to do, numbered, each step with its command."""
    webhook = f"{api_url}/partner/v1/webhooks/{mail.endpoint_id}"
    # What a 410 ended was cancelled, not exhausted.
    shown = "" if mail.kind is MailKind.ENDPOINT_GONE else "?state=exhausted"
    steps = [
        (
            "See what we sent, and what came back:",
            f'curl {KEY} \\\n  "{webhook}/deliveries{shown}"',
        )
    ]
    if mail.kind in {MailKind.ENDPOINT_GONE, MailKind.ENDPOINT_DISABLED}:
        steps.append(
            (
                "When your side is ready, enable the webhook:",
                f"curl -X PATCH {KEY} {JSON} \\\n"
                f'  --data \'{{"state": "active"}}\' \\\n  "{webhook}"',
            )
        )
    if mail.kind is not MailKind.INCIDENT_CLOSED:
        ping = f'curl -X POST {KEY} \\\n  "{webhook}/ping"'
        steps.append(("Try it with a test event:", ping))
    steps.append((_REPLAY, _replay(mail, webhook)))
    return "\n\n".join(
        f"{number}. {what}\n\n{_indented(command)}"
        for number, (what, command) in enumerate(steps, start=1)
    )


_REPLAY = (
    "Have everything sent that did not arrive. If next_since in the answer is not\n"
    "   null, call again with that time:"
)


def _replay(mail: Mail, webhook: str) -> str:
    since = min(mail.since, mail.missed_since or mail.since).replace(microsecond=0)
    return (
        f"curl -X POST {KEY} {JSON} \\\n"
        f'  --data \'{{"since": "{rfc3339(since)}"}}\' \\\n  "{webhook}/replay"'
    )


def _indented(command: str) -> str:
    return "\n".join(f"   {line}" for line in command.split("\n"))
