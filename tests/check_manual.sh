#!/bin/sh
# check_manual.sh: runtime/EMBEDDING.md names every function and status of lbrt.h, and nothing of lbrt's that does not exist.
set -eu
manual=runtime/EMBEDDING.md
functions=$(sed -n 's/^LBRT_API .*[ *]\(lbrt_[a-z0-9_]*\)(.*/\1/p' include/lbrt.h | sort -u)
statuses=$(sed -n 's/^ *\(LBRT_[A-Z_]*\) = [0-9]*,* .*/\1/p' include/lbrt.h | grep -E '^LBRT_(ERR_|CANCELLED)' | sort -u)
[ "$(printf '%s\n' "$functions" | wc -l)" -ge 30 ] && [ "$(printf '%s\n' "$statuses" | wc -l)" -ge 10 ] || { echo "lbrt.h is not as expected"; exit 1; }
fail=0
for name in $functions $statuses; do
    grep -q "$name\`\|$name(" $manual || { echo "$manual does not name $name"; fail=1; }
done
# lbrt_single.h, lbrt_symbols.txt are files; LBRT_..._INIT and the macros of the single file are not in lbrt.h
for name in $(grep -oE '(lbrt|LBRT)_[A-Za-z0-9_]+(\.(h|txt))?' $manual | sort -u); do
    case $name in
    *.h | *.txt | LBRT_IMPLEMENTATION | LBRT_SOURCE_HASH | LBRT_NO_PTHREADS) grep -rqF "$name" runtime/*.c Makefile tests/*.sh tests/*.c ;;
    LBRT_ISA) grep -rqF "\"$name\"" runtime/engine runtime/api ;;
    *) grep -qE "(^|[^a-zA-Z0-9_])$name([^a-zA-Z0-9_]|\$)" include/lbrt.h ;;
    esac || { echo "$manual names $name, which does not exist"; fail=1; }
done
for name in $(grep -oE '(tests|bench|runtime)/[a-z0-9_/]+\.?[a-z]*' $manual | sort -u); do
    [ -e "$name" ] || { echo "$manual names $name, which does not exist"; fail=1; }
done
[ $fail = 0 ] && echo "manual: all right"
exit $fail
