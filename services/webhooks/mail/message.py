"""Message: a mail's text with its headers; addresses out of the database can't add any."""

import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from services.kernel.environments import Environment
from services.webhooks.mail.store import Mail
from services.webhooks.mail.texts import body, subject

# Up to the standard's longest line text stays as it is, so that a person can read it in the file.
POLICY = SMTP.clone(max_line_length=998)

# Plain addresses only: with others the standard library's parser fails in ways of its own.
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
ADDRESS = re.compile(rf"{ATOM}(?:\.{ATOM})*@{LABEL}(?:\.{LABEL})*")


class AddressError(Exception):
    """This is no mail address; nothing can be sent to it until somebody corrects it."""


def mail_address(given: str) -> Address:
    """Return `name@host` as an address, one and no more. Raises AddressError."""
    if ADDRESS.fullmatch(given) is None:
        msg = f"not a mail address: {given[:100]!r}"
        raise AddressError(msg)
    return Address(addr_spec=given)


def make_message(
    mail: Mail, environment: Environment, *, sender: Address, api_url: str
) -> EmailMessage:
    """Return the message; its id is the same at each try. Raises AddressError."""
    message = EmailMessage(POLICY)
    message["From"] = sender
    message["To"] = mail_address(mail.contact)
    message["Subject"] = subject(mail, environment)
    message["Date"] = mail.now
    message["Message-ID"] = f"<{mail.id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # no holiday answers (RFC 3834)
    message.set_content(body(mail, environment, api_url=api_url))
    return message
