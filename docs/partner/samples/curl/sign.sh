#!/bin/sh
# Signs a body as we do: sign.sh ID TIMESTAMP <body, with the secret in WEBHOOK_SECRET.
# Prints the value of webhook-signature. Needs openssl. For tests: a program's arguments, and so
# the key, can be seen by other users of the machine.
set -eu
case $WEBHOOK_SECRET in
whsec_*) least=24 key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1) ;;
*) least=16 key=$(printf %s "$WEBHOOK_SECRET" | od -An -v -tx1) ;;
esac
key=$(printf %s "$key" | tr -d ' \n')
if [ ${#key} -lt $((2 * least)) ]; then
  echo 'a webhook secret is whsec_ and base64 of 24 to 64 bytes, or other text of 16 to 128 characters' >&2
  exit 1
fi
signature=$({ printf '%s.%s.' "$1" "$2" && cat; } |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
echo "v1,$signature"
