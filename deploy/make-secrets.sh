#!/bin/sh
# Makes the secrets that compose.yaml names and ./secrets lacks, for a first try: random, and a certificate that
# nobody trusts. What is there stays. Needs a shell, base64, sed and openssl; no Docker, no Python.
#   deploy/make-secrets.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."
folder="${1:-secrets}"

# Containers run as several users, and a secret is the file itself, mounted: so its file is readable, and
# the folder is its owner's alone, which keeps other users of this machine out.
umask 022
mkdir -p "$folder"
chmod 0700 "$folder"

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }
password() { random | tr -d '='; }

certificate() {
  at="$(mktemp -d)"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,DNS:sandbox-api.localhost -keyout "$at/key" -out "$at/certificate" 2> "$at/log" ||
    { cat "$at/log" >&2; rm -r "$at"; return 1; }
  cat "$at/certificate" "$at/key"
  rm -r "$at"
}

owner_password() { cat "$folder/postgres-password.txt"; }

make() {
  case "$1" in
    postgres-password | grafana-password | backend-token) password ;;
    master-keys) random ;;
    owner-database-url) printf 'postgresql://postgres:%s@postgres:5432/postgres' "$(owner_password)" ;;
    *-database-url)
      role="$(printf %s "${1%-database-url}" | tr - _)"
      printf 'postgresql://%s:%s@postgres:5432/postgres' "$role" "$(password)" ;;
    smtp-url) printf 'smtp://mail:1025' ;;
    gateway-certificate) certificate ;;
    *) echo "compose.yaml names the secret $1, and this script does not know what it is" >&2; return 1 ;;
  esac
}

# compose.yaml has the list: `  name: {file: ./secrets/name.txt}`, postgres-password before owner-database-url.
for name in $(sed -n '/^secrets:/,$ s/^  \([a-z-]*\): {file:.*/\1/p' compose.yaml); do
  file="$folder/$name.txt"
  [ -e "$file" ] && continue
  if ! make "$name" > "$file.new"; then rm -f "$file.new"; exit 1; fi
  chmod 0444 "$file.new"
  mv "$file.new" "$file"
  echo "made $file"
done
