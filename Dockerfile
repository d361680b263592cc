# One image for every service; compose.yaml says which command each container runs.
# Python's patch release and Debian 13 (trixie) by their tag; Python's packages by their hashes.
FROM python:3.11-slim-trixie AS packages

# What the services import, each with the hash that locks/runtime.txt names. Every one is a wheel, so that
# nothing is compiled and no package's own code runs here.
COPY locks/runtime.txt /tmp/runtime.txt
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: -r /tmp/runtime.txt


FROM python:3.11-slim-trixie

RUN groupadd --system --gid 10001 partnerapi \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin partnerapi

COPY --from=packages /opt/venv /opt/venv

# The code is copied, not installed: as in a checkout, the contract lies beside it, and no build tool is needed.
# .dockerignore leaves the local stack (services/local) out.
WORKDIR /app
COPY deploy/partnerapi /usr/local/bin/partnerapi
COPY specs/api/partner-inventory-api.yaml specs/api/partner-inventory-api.yaml
COPY gateway/kong.yml gateway/kong.yml
COPY services services

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Compiled here, once: the root file system of a container is read-only.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash services /opt/venv/lib

USER 10001:10001
CMD ["partnerapi", "--help"]
