"""Plugins: one module for each, named as Kong names it; REGISTRY has them all."""

from collections.abc import Mapping

from services.local.gateway.plugins.acl import Acl
from services.local.gateway.plugins.backend_token import BackendToken
from services.local.gateway.plugins.base import Plugin
from services.local.gateway.plugins.correlation_id import CorrelationId
from services.local.gateway.plugins.error_envelope import ErrorEnvelope
from services.local.gateway.plugins.key_auth import KeyAuth
from services.local.gateway.plugins.prometheus import Prometheus
from services.local.gateway.plugins.rate_limiting import RateLimiting
from services.local.gateway.plugins.request_size_limiting import RequestSizeLimiting
from services.local.gateway.plugins.request_termination import RequestTermination

REGISTRY: Mapping[str, type[Plugin]] = {
    "acl": Acl,
    "backend-token": BackendToken,
    "correlation-id": CorrelationId,
    "error-envelope": ErrorEnvelope,
    "key-auth": KeyAuth,
    "prometheus": Prometheus,
    "rate-limiting": RateLimiting,
    "request-size-limiting": RequestSizeLimiting,
    "request-termination": RequestTermination,
}
