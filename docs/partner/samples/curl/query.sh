#!/bin/sh
# Stock of up to 100 products: query.sh SKU-1 SKU-2 ...
# curl itself waits for Retry-After with 429 and 503, and tries again (curl 7.66 or newer).
set -eu
ids=$(printf '"%s",' "$@") # ids with a quote or a backslash in them need more care
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
status=$(curl -sS -o "$answer" -w '%{http_code}' --max-time 10 --retry 5 --retry-max-time 180 \
  -H "X-API-Key: $INVENTORY_KEY" -H 'Content-Type: application/json' \
  -d "{\"product_ids\":[${ids%,}]}" "$INVENTORY_URL/partner/v1/inventory")
cat "$answer" && echo
test "$status" = 200
