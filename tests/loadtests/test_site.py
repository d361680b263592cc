"""Site: what a run is told about a gateway that is not its own."""

from pathlib import Path

import pytest

from loadtests.plan import CouldNotRunError, load_profiles
from loadtests.site import foreign_site, without_scenarios


def test_a_host_without_a_key_says_which_is_missing() -> None:
    with pytest.raises(CouldNotRunError, match="API_KEY is not"):
        foreign_site({"HOST": "https://api.inventory.example"})


def test_a_host_that_is_no_address_is_told() -> None:
    with pytest.raises(CouldNotRunError, match="must be an address"):
        foreign_site({"HOST": "api.inventory.example", "API_KEY": "k"})


def test_the_sandbox_is_found_beside_live() -> None:
    target = foreign_site({"HOST": "https://api.inventory.example/", "API_KEY": "k"}).target
    assert target.sandbox_url == "https://sandbox-api.inventory.example"
    assert target.sandbox_host == ""
    local = foreign_site({"HOST": "http://127.0.0.1:8000", "API_KEY": "k"}).target
    assert local.sandbox_url == "http://127.0.0.1:8000"
    assert local.sandbox_host == "sandbox-api.localhost"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.9.8.7:8000", True),
        ("http://[::1]:8000", True),
        ("http://localhost:8000", True),
        ("http://192.0.2.1:8000", False),
        ("https://api.inventory.example", False),
    ],
)
def test_a_receiver_on_this_machine_is_used_for_this_machine_only(host: str, here: bool) -> None:
    assert foreign_site({"HOST": host, "API_KEY": "k"}).on_this_machine is here


def test_scenarios_without_their_key_are_left_out_and_say_why() -> None:
    site = foreign_site({"HOST": "https://api.inventory.example", "API_KEY": "k"})
    left_out = without_scenarios(load_profiles()["acceptance"].mix, site, hooks=False)
    assert set(left_out) == {"internal-read", "sandbox-read", "over-limit", "subscriptions"}
    assert left_out["internal-read"] == "INTERNAL_URL is not set"


def test_a_fault_on_a_gateway_that_is_not_the_kits_own_is_refused() -> None:
    site = foreign_site({"HOST": "http://127.0.0.1:8000", "API_KEY": "k"})
    with pytest.raises(CouldNotRunError, match="--stack"):
        site.needs_state()


def test_keys_are_in_no_representation() -> None:
    site = foreign_site({"HOST": "https://api.inventory.example", "API_KEY": "pk_live_secret"})
    assert "secret" not in repr(site)


def test_product_ids_of_ones_own_are_read_and_must_be_found(tmp_path: Path) -> None:
    listing = tmp_path / "ids.txt"
    listing.write_text("A-1\nA-2\n\nA-3\nA-4\nA-5\n")
    given = {"HOST": "http://127.0.0.1:8000", "API_KEY": "k", "PRODUCT_IDS": str(listing)}
    site = foreign_site(given)
    assert (site.products, site.all_known) == (["A-1", "A-2", "A-3", "A-4", "A-5"], True)
    with pytest.raises(CouldNotRunError, match="No such file"):
        foreign_site(given | {"PRODUCT_IDS": str(tmp_path / "none.txt")})
