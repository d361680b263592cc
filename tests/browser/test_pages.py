"""The two pages of API documents, as a browser shows them: nothing is asked of any other host."""

import pytest

from tests.browser.visits import Visit, visit
from tests.e2e.conftest import SANDBOX_HOST, LocalStack
from tests.needs import PACKAGES
from tools.contract.document import load_document

pytestmark = [
    pytest.mark.browser,
    pytest.mark.needs("chromium", PACKAGES),
    pytest.mark.timeout(120),
]

PARTNERS_PAGE = "/partner/v1/docs"
ADMINS_PAGE = "/admin/v1/docs"
ADMIN_PORT = 100  # above the stack's base


def assert_all_is_well(seen: Visit, host: str) -> None:
    """Check that nothing failed and that no other host was asked."""
    assert seen.errors == []
    assert seen.refused == []
    assert seen.hosts == {host}


@pytest.mark.parametrize("host", ["127.0.0.1", SANDBOX_HOST])
def test_the_contracts_page_shows_every_operation_through_the_gateway(
    stack: LocalStack, host: str
) -> None:
    place = f"{host}:{stack.base}"
    seen = visit(f"http://{place}{PARTNERS_PAGE}", "Stock of up to 100 products")
    assert_all_is_well(seen, place)
    assert len(seen.requests) >= 5  # the page, its style, two scripts, the contract
    document = load_document()
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"] in seen.text
    for heading in ("Applying for a key", "Delta sync", "Webhooks", "Versions, and how long"):
        assert heading in seen.text


def test_an_operation_opens_with_its_errors_and_examples(stack: LocalStack) -> None:
    place = f"127.0.0.1:{stack.base}"
    seen = visit(
        f"http://{place}{PARTNERS_PAGE}",
        "Stock of up to 100 products",
        clicked=".opblock-summary-post .opblock-summary-path",
        shown="Maximum 100 products per request",
    )
    assert_all_is_well(seen, place)
    assert "Over the limit. Wait for the seconds in" in seen.text


def test_the_admin_services_page_shows_its_operations(stack: LocalStack) -> None:
    place = f"127.0.0.1:{stack.base + ADMIN_PORT}"
    seen = visit(f"http://{place}{ADMINS_PAGE}", "/admin/v1/partners")
    assert_all_is_well(seen, place)
