#!/bin/sh
# check_size.sh BUILD: what a program pays for lbrt. The shared library with every instruction-set level, stripped, is at most 400 KB; a
# program that opens a model and generates (the one in README.md), linked from liblbrt.a with libc as a shared library and stripped, is
# at most 500 KB. A KB is 1024 bytes. Sizes are those of files on x86-64 as gcc makes them; elsewhere they are printed only.
set -eu
build=${1:-build}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
strip -o "$temp/lib" "$build/liblbrt.so"
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$temp/program.c"
${CC:-cc} -std=c11 -O2 -Iinclude "$temp/program.c" -Wl,--gc-sections -s -o "$temp/program" "$build/liblbrt.a" -pthread -lm
lib=$(wc -c <"$temp/lib")
program=$(wc -c <"$temp/program")
echo "sizes: library $lib of 409600 bytes, program $program of 512000"
[ "$(uname -m)" = x86_64 ] || exit 0
[ "$lib" -le 409600 ] || { echo "the stripped library has more than 400 KB: see kernels/tmpl/README, Size"; exit 1; }
[ "$program" -le 512000 ] || { echo "a minimal program has more than 500 KB"; exit 1; }
