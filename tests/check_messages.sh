#!/bin/sh
# check_messages.sh: the library's messages use only what lb_fail and lb_format can print (runtime/base/lb_base.h); the compiler, which knows printf, accepts more.
set -eu
known='%(%|\.\*s|s|c|l{0,2}[dux]|z[ux])'
found=$(for f in runtime/*/*.[ch] formats/*/*.[ch]; do
    sed -E -e "s/$known//g" -e 's/"%"//g' "$f" | grep -nE '"[^"]*%[^"]*"' | sed "s|^|$f:|" || true
done)
[ -z "$found" ] || { echo "messages with conversions that lb_format does not know:"; echo "$found"; exit 1; }
echo "messages: all right"
