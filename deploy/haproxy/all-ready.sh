#!/bin/bash
# Waits until the load balancer uses every node and service again, a minute at most: before the next one is restarted.
#   docker compose exec load-balancer bash /usr/local/etc/haproxy/all-ready.sh
address="${1:-127.0.0.1}"
for _ in {1..240}; do
  if exec 3<>"/dev/tcp/$address/8404" && printf 'GET /all HTTP/1.0\r\n\r\n' >&3 && grep -q ' 200 ' <&3; then
    exit 0
  fi
  sleep 0.25
done
echo "all-ready.sh: after a minute the load balancer still leaves one out; see its log" >&2
exit 1
