"""Plugins: one module for each, named as Kong names it; REGISTRY is all that a file may use."""

from collections.abc import Mapping

from services.embedded.gateway.plugins.acl import Acl
from services.embedded.gateway.plugins.backend_token import BackendToken
from services.embedded.gateway.plugins.base import Plugin
from services.embedded.gateway.plugins.correlation_id import CorrelationId
from services.embedded.gateway.plugins.error_envelope import ErrorEnvelope
from services.embedded.gateway.plugins.key_auth import KeyAuth
from services.embedded.gateway.plugins.prometheus import Prometheus
from services.embedded.gateway.plugins.rate_limiting import RateLimiting
from services.embedded.gateway.plugins.request_size_limiting import RequestSizeLimiting
from services.embedded.gateway.plugins.request_termination import RequestTermination

_ALL: tuple[type[Plugin], ...] = (
    Acl,
    BackendToken,
    CorrelationId,
    ErrorEnvelope,
    KeyAuth,
    Prometheus,
    RateLimiting,
    RequestSizeLimiting,
    RequestTermination,
)
REGISTRY: Mapping[str, type[Plugin]] = {plugin.NAME: plugin for plugin in _ALL}
