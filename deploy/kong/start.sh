#!/bin/bash
# Starts a Kong node of compose.yaml: what Kong can't take from its environment alone, then the image's own start.
set -euo pipefail

# Kong reads the token from its environment (vault env); the secret is a file. Of several, a node sends the first.
tokens="$(< "${BACKEND_TOKEN_FILE:?}")"
export BACKEND_TOKEN="${tokens%%,*}"

# The configuration in the prefix holds every key in plaintext.
umask 077
mkdir -p "${KONG_PREFIX:?}"
chmod 0700 "$KONG_PREFIX"

# Sockets of a node that was killed: nginx would not start with them there.
find "$KONG_PREFIX" -type s -delete

# The Admin API listens on the network of this name only, not on those that callers share.
address="$(getent ahostsv4 "${ADMIN_NAME:?}")" || { echo "start.sh: no address of $ADMIN_NAME" >&2; exit 1; }
address="${address%% *}"
export KONG_ADMIN_LISTEN="$address:8001"

exec /docker-entrypoint.sh "$@"
