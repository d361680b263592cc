#!/bin/sh
# What has changed since the last time: sync.sh CURSOR_FILE. Needs jq.
# The first run prints nothing and keeps a cursor. Each later one prints a line for each change,
# "product version quantity", then keeps the new cursor; a removed product has no quantity.
set -eu
file=$1
more=true
while [ "$more" = true ]; do
  set --
  if [ -s "$file" ]; then set -- --data-urlencode "cursor@$file"; fi
  page=$(curl -sS --fail-with-body --max-time 10 --retry 5 --retry-max-time 180 \
    -H "X-API-Key: $INVENTORY_KEY" -G "$@" "$INVENTORY_URL/partner/v1/inventory/changes") ||
    { echo "$page" >&2 && exit 1; } # CURSOR_EXPIRED: remove the file and start anew
  echo "$page" | jq -r '.items[], .removed[] | "\(.product_id) \(.version) \(.quantity // "")"'
  echo "$page" | jq -j .next_cursor >"$file.next"
  mv "$file.next" "$file"
  more=$(echo "$page" | jq .has_more)
done
