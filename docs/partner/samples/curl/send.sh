#!/bin/sh
# Sends an event of your own, signed with WEBHOOK_SECRET, to your receiver, and prints its answer:
#   send.sh URL [SECONDS_AGO [tamper]]
# So you can try a receiver before anything can reach it, also with an old or a changed message.
set -eu
here=$(dirname "$0")
id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | sed 's/\(.\{8\}\)\(....\)\(....\)\(....\)/\1-\2-\3-\4-/')
sent=$(($(date +%s) - ${2:-0}))
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
body=$(printf '{"event_id":"%s","event_type":"inventory.low_stock","timestamp":"%s","data":{"product_id":"MADE-UP-1","quantity":9,"status":"low_stock","updated_at":"%s","version":1},"retry_count":0}' "$id" "$now" "$now")
signature=$(printf %s "$body" | "$here/sign.sh" "$id" "$sent")
if [ "${3:-}" = tamper ]; then body=$(printf %s "$body" | sed 's/"quantity":9/"quantity":900/'); fi
curl -sS -o /dev/null -w '%{http_code}\n' --max-time 15 -H 'Content-Type: application/json' \
  -H "webhook-id: $id" -H "webhook-timestamp: $sent" -H "webhook-signature: $signature" \
  -d "$body" "$1"
