#!/bin/sh
# check_symbols.sh BUILD: the shared library exports the functions of lbrt.h and nothing else; the library calls nothing that ends or
# talks for its host.
set -eu
build=${1:-build}
exported=$(nm -D --defined-only "$build/liblbrt.so" | awk '{ print $3 }' | sort)
declared=$(sed -n 's/.*[ *]\(lbrt_[a-z0-9_]*\)(.*/\1/p' include/lbrt.h | grep -v '_fn$' | sort -u)
bad=$(printf '%s\n' "$exported" | grep -v '^lbrt_' || true)
[ -z "$bad" ] || { echo "exported without the prefix: $bad"; exit 1; }
missing=$(printf '%s\n' "$exported" | while read -r f; do printf '%s\n' "$declared" | grep -qx "$f" || echo "$f"; done)
[ -z "$missing" ] || { echo "exported but not in lbrt.h: $missing"; exit 1; }
called=$(nm -u "$build/liblbrt.a" | awk '/ U / { print $2 }' | sort -u |
    grep -Ex '_?_?(v?f?printf|v?d?printf|puts|fputs|putchar|perror|abort|_?exit|_Exit|raise|__assert_fail|longjmp|__stack_chk_fail|system|setenv|putenv)(_chk)?' || true)
[ -z "$called" ] || { echo "the library calls: $called"; exit 1; }
# Tables of pointers are relocated once and then read-only (.data.rel.ro); .data and .bss would be state.
writable=$(objdump -t "$build/liblbrt.a" | awk '{ for (i = 1; i <= NF; i++) if ($i == ".data" || $i == ".bss" || $i == "*COM*") if ($(i + 1) !~ /^0+$/) print $NF }')
[ -z "$writable" ] || { echo "writable globals: $writable"; exit 1; }
echo "symbols: $(printf '%s\n' "$exported" | wc -l) exported, all in lbrt.h; no call that ends or talks for the host; no writable data"
