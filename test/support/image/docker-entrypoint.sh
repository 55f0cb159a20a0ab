#!/bin/sh
# As the base image's: an argument that is no program goes to Bun.
set -e
if [ "${1#-}" != "$1" ] || [ -z "$(command -v "$1")" ]; then set -- bun "$@"; fi
exec "$@"
