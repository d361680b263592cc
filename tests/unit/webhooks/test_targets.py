"""Where webhooks may go, as text and as addresses (W12)."""

import ipaddress

import pytest

from services.core.settings import SettingsError
from services.webhooks.targets import TargetPolicy, TargetRefusedError, check_address, check_url
from tests.hostile_targets import HOSTILE_ANSWERS, HOSTILE_URLS, PUBLIC_ADDRESSES

PORT = 8443
LIVE = TargetPolicy.of(development=False, ports="443,8443")
DEVELOPMENT = TargetPolicy.of(development=True, ports="443")


def refuses(address: str) -> bool:
    try:
        check_address(ipaddress.ip_address(address), LIVE)
    except TargetRefusedError:
        return True
    return False


@pytest.mark.parametrize("name", HOSTILE_URLS)
def test_a_hostile_url_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(TargetRefusedError) as refused:
        check_url(HOSTILE_URLS[name].replace("{port}", str(PORT)), LIVE)
    assert str(refused.value).isprintable()
    assert 10 < len(str(refused.value)) <= 200


def test_the_table_holds_at_least_sixty_hostile_targets() -> None:
    assert len(set(HOSTILE_URLS.values())) == len(HOSTILE_URLS) >= 60


@pytest.mark.parametrize("name", HOSTILE_ANSWERS)
def test_one_forbidden_address_is_found_in_every_hostile_answer(name: str) -> None:
    assert any(refuses(address) for address in HOSTILE_ANSWERS[name])


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_allowed(address: str) -> None:
    check_address(ipaddress.ip_address(address), LIVE)
    host = f"[{address}]" if ":" in address else address
    assert check_url(f"https://{host}/x", LIVE) == f"https://{host}/x"


def test_a_refusal_does_not_tell_the_address_that_our_resolver_found() -> None:
    with pytest.raises(TargetRefusedError) as refused:
        check_address(ipaddress.ip_address("10.20.30.40"), LIVE)
    assert str(refused.value) == "private addresses are not called, only public ones"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://shop.example/hooks", "https://shop.example/hooks"),
        ("https://shop.example", "https://shop.example/"),
        ("HTTPS://Shop.EXAMPLE/Hooks", "https://shop.example/Hooks"),
        ("https://shop.example:443/a", "https://shop.example/a"),
        ("https://shop.example:0443/a", "https://shop.example/a"),
        ("https://shop.example:8443/a", "https://shop.example:8443/a"),
        ("https://shop.example?a=b", "https://shop.example/?a=b"),
        ("https://shop.example/a?t=%C3%A4&b=[]", None),
        ("https://shop.example/a?t=%C3%A4&b=c@d:e", "https://shop.example/a?t=%C3%A4&b=c@d:e"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://a-b.c--d.example/", "https://a-b.c--d.example/"),
        ("https://-a.example/", None),
        ("https://a-.example/", None),
        ("https://shop.-example/", None),
        (f"https://{'a' * 63}.example/", f"https://{'a' * 63}.example/"),
        (f"https://{'a' * 64}.example/", None),
        (f"https://{'a.' * 127}example/", None),
        ("https://[2606:4700:0:0::1111]/", "https://[2606:4700::1111]/"),
    ],
)
def test_a_url_is_kept_in_one_form(given: str, kept: str | None) -> None:
    if kept is None:
        with pytest.raises(TargetRefusedError):
            check_url(given, LIVE)
    else:
        assert check_url(given, LIVE) == kept
        assert check_url(kept, LIVE) == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/hooks",
        "http://localhost:9000/hooks",
        "http://shop.localhost:9000/hooks",
        "http://[::1]:9000/hooks",
        "https://127.0.0.1:1/hooks",
        "https://shop.example/hooks",
    ],
)
def test_development_takes_loopback_http_and_every_port(url: str) -> None:
    assert check_url(url, DEVELOPMENT) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://192.168.0.1/",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1]/",
        "http://2130706433/",
        "http://user@localhost/",
        "http://intranet/",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:70000/",
    ],
)
def test_development_refuses_what_is_not_loopback_all_the_same(url: str) -> None:
    with pytest.raises(TargetRefusedError):
        check_url(url, DEVELOPMENT)


@pytest.mark.parametrize("ports", ["", "443,", "0", "65536", "443;8443", "https", "443.5"])
def test_ports_that_are_none_are_named_as_a_faulty_setting(ports: str) -> None:
    with pytest.raises(SettingsError, match="TARGET_PORTS"):
        TargetPolicy.of(development=False, ports=ports)
