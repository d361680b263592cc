"""Mail addresses: one rule, where they are entered and where mails are sent to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.mail_address import LONGEST, MailAddressError, mail_address


@pytest.mark.parametrize(
    ("given", "sent_to"),
    [
        ("ops@techmart.example", "ops@techmart.example"),
        ("O.p-s+hooks@Shop.A-B.example", "O.p-s+hooks@shop.a-b.example"),
        ("o'neil@a.example", "o'neil@a.example"),
        ("a@münchen.example", "a@xn--mnchen-3ya.example"),
        ("a@MÜNCHEN.example", "a@xn--mnchen-3ya.example"),
        ("a@mu\u0308nchen.example", "a@xn--mnchen-3ya.example"),
        ("a@xn--mnchen-3ya.example", "a@xn--mnchen-3ya.example"),
        ("a@例え。テスト", "a@xn--r8jz45g.xn--zckzah"),
    ],
)
def test_an_address_is_returned_as_smtp_carries_it(given: str, sent_to: str) -> None:
    assert mail_address(given) == sent_to


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nobody",
        "@b.example",
        "a@",
        "mailto:a@example.com",
        "<a@example.com>",
        "A <a@example.com>",
        "a@example.com.",
        "a@example.com。",
        " a@example.com",
        "a@example.com ",
        "a@exam\u00a0ple.com",
        "a@exam\u200bple.com",
        "a@exam\u00adple.com",
        "a@example.com (office)",
        "(office)a@example.com",
        "a@example.com,b@example.com",
        "a@example.com;b@example.com",
        "a@b@example.com",
        "a@localhost",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@ex_ample.com",
        "a@-example.com",
        "a@example..com",
        "a@xn--zz.example",
        "a@example.com\n",
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com\0",
        "a@exam\udce4ple.com",
        "müller@example.com",
        '"a b"@example.com',
        ".a@example.com",
        "a..b@example.com",
        "a" * 65 + "@b.example",
        "a@" + "b" * 64 + ".example",
        "a@" + "b." * 126 + "example",
    ],
)
def test_what_no_server_could_reach_is_refused_with_the_rule(given: str) -> None:
    with pytest.raises(MailAddressError, match="an e-mail address alone"):
        mail_address(given)


@given(
    st.one_of(
        st.text(),
        st.emails(),
        st.from_regex(r"[^@\s]+@[^@\s]+", fullmatch=True),
        st.from_regex(r"[!-~]{1,9}@[a-zäß.-]{1,9}", fullmatch=True),
    )
)
def test_what_is_returned_is_ascii_and_fits_the_rule_again(given: str) -> None:
    try:
        address = mail_address(given)
    except MailAddressError:
        return
    assert address.isascii()
    assert address.isprintable()
    assert len(address) <= LONGEST
    assert mail_address(address) == address
