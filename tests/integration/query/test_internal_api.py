"""The internal API that our own shop reads (Q10)."""

from services.core.environments import Environment
from services.schema.seed import products
from tools.query_process import QueryProcess

FIRST, QUANTITY = next(products(Environment.LIVE))


def test_one_products_stock_is_the_item_without_key_or_gateway(
    internal: QueryProcess, partner: QueryProcess
) -> None:
    with internal.client(consumer=None, token=None) as client:
        response = client.get(f"/api/v1/products/{FIRST}/stock")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["quantity"] == QUANTITY
    with partner.client() as client:
        answer = client.post("/partner/v1/inventory", json={"product_ids": [FIRST]})
    assert response.json() == answer.json()["items"][0]


def test_an_unknown_product_is_404_in_the_one_shape(internal: QueryProcess) -> None:
    with internal.client(consumer=None, token=None) as client:
        response = client.get("/api/v1/products/unknown/stock", headers={"X-Request-ID": "mine"})
    assert response.status_code == 404
    assert response.json() == {
        "code": "NOT_FOUND",
        "message": "There is no such product",
        "request_id": "mine",
    }


def test_no_cache_may_keep_an_answer_about_stock_be_it_an_error(
    internal: QueryProcess, partner: QueryProcess
) -> None:
    inside = [f"/api/v1/products/{each}/stock" for each in (FIRST, "unknown", "x" * 65, "%FF")]
    outside = ["?product_ids=A", "?product_ids=", "/changes", "/changes?cursor=x", "/none"]
    with internal.client(consumer=None, token=None) as client, partner.client() as other:
        answers = [client.get(path) for path in inside]
        answers += [other.get(f"/partner/v1/inventory{path}") for path in outside]
        answers += [other.post("/partner/v1/inventory", json={"product_ids": ["A"]})]
        document = other.get("/partner/v1/openapi.yaml")
    assert {answer.status_code for answer in answers} == {200, 400, 404}
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
    assert document.headers["Cache-Control"] == "public, max-age=300"


def test_ids_that_no_product_can_have_are_refused_by_name(internal: QueryProcess) -> None:
    with internal.client(consumer=None, token=None) as client:
        for bad in ("x" * 65, "a%00b", "a%0Ab"):
            response = client.get(f"/api/v1/products/{bad}/stock")
            assert response.status_code == 400
            assert "`product_id`" in response.json()["message"]


def test_partner_routes_are_not_served_inside(internal: QueryProcess) -> None:
    with internal.client(check=False) as client:
        assert client.post("/partner/v1/inventory", json={"product_ids": ["A"]}).status_code == 404
        assert client.get("/health/ready").json()["status"] == "ready"


def test_other_methods_are_refused_in_the_one_shape(internal: QueryProcess) -> None:
    with internal.client(consumer=None, token=None) as client:
        response = client.put(f"/api/v1/products/{FIRST}/stock", json={})
    assert response.status_code == 405
    assert response.json()["code"] == "METHOD_NOT_ALLOWED"
    assert "GET" in response.headers["Allow"]
