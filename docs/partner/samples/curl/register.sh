#!/bin/sh
# Register a webhook: register.sh URL EVENT...
# Prints the answer. It has the secret, this once; with WEBHOOK_SECRET set, that one is used.
set -eu
url=$1
shift
events=$(printf '"%s",' "$@")
secret=${WEBHOOK_SECRET:+,\"secret\":\"$WEBHOOK_SECRET\"}
curl -sS -w '\n' --fail-with-body -H "X-API-Key: $INVENTORY_KEY" -H 'Content-Type: application/json' \
  -d "{\"url\":\"$url\",\"events\":[${events%,}]$secret}" "$INVENTORY_URL/partner/v1/webhooks"
