#!/bin/sh
# Gives fresh volumes to the uid that NATS and the object store run as; refuses default passwords where the ports are published to others.
set -eu
case "$PUBLISH_ADDR" in
127.* | ::1 | "[::1]" | localhost) ;;
*)
    for name in NATS_PASSWORD CLICKHOUSE_PASSWORD S3_SECRET_KEY GRAFANA_PASSWORD; do
        eval "value=\$$name"
        if [ "$value" = taelsecret ]; then
            echo "tael: $name has its default, which is public, and PUBLISH_ADDR=$PUBLISH_ADDR lets others in: set it in deploy/.env" >&2
            exit 1
        fi
    done
    ;;
esac
chown 10001:10001 /data/*
