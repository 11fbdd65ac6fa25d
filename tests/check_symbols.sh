#!/bin/sh
# check_symbols.sh BUILD: the shared library exports the functions of tests/lbrt_symbols.txt, which are those of lbrt.h, and nothing else; the
# library calls nothing that ends or talks for its host. A function that is added to lbrt.h needs a line in the list; none may go from it.
set -eu
export LC_ALL=C
build=${1:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
exported=$(nm -D --defined-only "$build/liblbrt.so" | awk '{ print $3 }' | sort)
declared=$(sed -n 's/^LBRT_API .*[ *]\(lbrt_[a-z0-9_]*\)(.*/\1/p' include/lbrt.h | sort -u)
promised=$(cat tests/lbrt_symbols.txt)
differ() { # differ WHAT LIST WHAT LIST
    printf '%s\n' "$2" >"$dir/a"
    printf '%s\n' "$4" >"$dir/b"
    diff "$dir/a" "$dir/b" >"$dir/diff" || { echo "$1 (<) and $3 (>) differ:"; cat "$dir/diff"; exit 1; }
}
differ "tests/lbrt_symbols.txt" "$promised" "what $build/liblbrt.so exports" "$exported"
differ "tests/lbrt_symbols.txt" "$promised" "what lbrt.h declares" "$declared"
called=$(nm -u "$build/liblbrt.a" | awk '/ U / { print $2 }' | sort -u |
    grep -Ex '_?_?(v?f?printf|v?d?printf|puts|fputs|putchar|perror|abort|_?exit|_Exit|raise|__assert_fail|longjmp|__stack_chk_fail|system|setenv|putenv)(_chk)?' || true)
[ -z "$called" ] || { echo "the library calls: $called"; exit 1; }
# Tables of pointers are relocated once and then read-only (.data.rel.ro); .data and .bss would be state.
writable=$(objdump -t "$build/liblbrt.a" | awk '{ for (i = 1; i <= NF; i++) if ($i == ".data" || $i == ".bss" || $i == "*COM*") if ($(i + 1) !~ /^0+$/) print $NF }')
[ -z "$writable" ] || { echo "writable globals: $writable"; exit 1; }
echo "symbols: $(printf '%s\n' "$exported" | wc -l) exported, all in lbrt.h; no call that ends or talks for the host; no writable data"
