"""Documents: the contract and a page to read it, for anybody, without a key (A1, D1).

The page's script and style come out of the package swagger-ui-bundle, from our own host; the
policy that goes with the page lets the browser ask nobody else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import swagger_ui_bundle
from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from services.core.errors import PartnerError
from services.core.http.failures import REFUSALS

CONTRACT = Path(__file__).parents[2] / "specs" / "api" / "partner-inventory-api.yaml"
CONTRACT_PATH = "/partner/v1/openapi.yaml"
PAGE_PATH = "/partner/v1/docs"

CACHED = "public, max-age=300"  # seconds; a new release is read by then
# Swagger UI sets styles on its elements, hence 'unsafe-inline' for those.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Partner Inventory API</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/partner/v1/docs/assets/swagger-ui.css">
</head>
<body>
  <div id="contract"></div>
  <noscript>
    This page needs JavaScript; <a href="/partner/v1/openapi.yaml">the contract</a> does not.
  </noscript>
  <script src="/partner/v1/docs/assets/swagger-ui-bundle.js"></script>
  <script src="/partner/v1/docs/assets/page.js"></script>
</body>
</html>
"""

# No validator (it is on another host) and nothing to send from here: servers are other hosts too.
PAGE_SCRIPT = """SwaggerUIBundle({
  url: "/partner/v1/openapi.yaml",
  dom_id: "#contract",
  validatorUrl: null,
  supportedSubmitMethods: [],
  defaultModelsExpandDepth: 1,
  docExpansion: "list",
});
"""

SWAGGER_UI = Path(str(swagger_ui_bundle.swagger_ui_path))


def document_routes() -> list[ASGIRouteHandler]:
    """Return the handlers of the public documents; the files are read once, here."""
    page_headers = {"Content-Security-Policy": CONTENT_POLICY}
    script = (SWAGGER_UI / "swagger-ui-bundle.js").read_bytes()
    style = (SWAGGER_UI / "swagger-ui.css").read_bytes()
    return [
        _route(CONTRACT_PATH, CONTRACT.read_bytes(), "application/yaml"),
        _route(PAGE_PATH, PAGE.encode(), "text/html; charset=utf-8", page_headers),
        _route(f"{PAGE_PATH}/assets/page.js", PAGE_SCRIPT.encode(), "text/javascript"),
        _route(f"{PAGE_PATH}/assets/swagger-ui-bundle.js", script, "text/javascript"),
        _route(f"{PAGE_PATH}/assets/swagger-ui.css", style, "text/css"),
    ]


def _route(
    path: str, content: bytes, content_type: str, more: Mapping[str, str] | None = None
) -> ASGIRouteHandler:
    headers = {
        "Content-Type": content_type,
        "Content-Length": str(len(content)),
        "Cache-Control": CACHED,
        "X-Content-Type-Options": "nosniff",
        **(more or {}),
    }
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    @asgi(path, copy_scope=False)
    async def get_document(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        if cast("HTTPScope", scope)["method"] != "GET":
            raise PartnerError(*REFUSALS[405], headers={"Allow": "GET"})
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        await send({"type": "http.response.body", "body": content, "more_body": False})

    return get_document
