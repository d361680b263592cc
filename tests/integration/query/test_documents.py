"""The public documents: served as they lie in the repository, to anybody (A1, D1)."""

import re
from pathlib import Path

import pytest

from tools.contract.document import DOCUMENT
from tools.query_process import QueryProcess

CONTRACT, PAGE = "/partner/v1/openapi.yaml", "/partner/v1/docs"


def test_the_contract_is_served_as_it_lies_in_the_repository(partner: QueryProcess) -> None:
    with partner.client() as client:
        response = client.get(CONTRACT)
    assert response.status_code == 200
    assert response.content == Path(DOCUMENT).read_bytes()
    assert response.headers["Content-Type"] == "application/yaml"


def test_the_page_and_all_that_it_loads_come_from_our_own_host(partner: QueryProcess) -> None:
    with partner.client() as client:
        page = client.get(PAGE)
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) == 5
    with partner.client(check=False) as client:
        for address in addresses:
            assert address.startswith(("/partner/v1/", "data:,")), address
            if address.startswith("/"):
                assert client.get(address).status_code == 200, address


@pytest.mark.parametrize("path", [CONTRACT, PAGE])
def test_they_can_only_be_read(partner: QueryProcess, path: str) -> None:
    with partner.client() as client:
        response = client.post(path, content=b"x")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", [f"{CONTRACT}/", f"{PAGE}/", f"{PAGE}/assets/swagger-ui.js"])
def test_what_is_not_one_of_them_is_404(partner: QueryProcess, path: str) -> None:
    with partner.client() as client:
        assert client.get(path).status_code == 404
