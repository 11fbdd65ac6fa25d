#!/bin/sh
# check_web.sh: WebAssembly with vectors gives the golden tokens of the demo model under node, and the page of `make web` says in headless
# Chromium, if there is one, what chat says here.
set -eu
make web web-test
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    echo "golden tokens: all right; skipped: no Chromium for the page"
    exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
set -- "Tell me a story about a fox and a red kite." "What is 7 + 5?" "What is lbrt?"
node tests/web_check.js build/web "$browser" "$@" | tee "$dir/page"
printf '%s\n' "$@" | build/chat --temp 0 >"$dir/chat"
while read -r answer; do
    echo "$1"
    echo "$answer"
    shift
done <"$dir/chat" | diff "$dir/page" - || { echo "the page (<) and chat (>) differ"; exit 1; }
echo "golden tokens and the page: all right"
