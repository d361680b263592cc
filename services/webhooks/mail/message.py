"""Message: a mail's text with its headers; addresses out of the database can't add any."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from services.core.environments import Environment
from services.core.mail_address import mail_address
from services.webhooks.mail.store import Mail
from services.webhooks.mail.texts import body, subject

# Up to the standard's longest line text stays as it is, so that a person can read it in the file.
POLICY = SMTP.clone(max_line_length=998)


def header_address(given: str) -> Address:
    """Return a mail address for a header. Raises MailAddressError."""
    return Address(addr_spec=mail_address(given))


def make_message(
    mail: Mail, environment: Environment, *, sender: Address, api_url: str
) -> EmailMessage:
    """Return the message; its id is the same at each try. Raises MailAddressError."""
    message = EmailMessage(POLICY)
    message["From"] = sender
    message["To"] = header_address(mail.contact)
    message["Subject"] = subject(mail, environment)
    message["Date"] = mail.now
    message["Message-ID"] = f"<{mail.id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # no holiday answers (RFC 3834)
    message.set_content(body(mail, environment, api_url=api_url))
    return message
