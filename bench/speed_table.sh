#!/bin/sh
# speed_table.sh LEVEL MODEL.lbrt...: a line of a table for each model, as in SPEED.md. LEVEL is an instruction-set level, or "best".
# BENCH is the program (default build/lbrt-bench), FLAGS what else it is given (default -p 512 -n 48 -r 3).
set -eu
level=$1
shift
[ "$level" = best ] && isa="" || isa="--isa $level"
for model; do
    "${BENCH:-build/lbrt-bench}" ${FLAGS:--p 512 -n 48 -r 3} $isa -t 1,2 --json "$model" | awk -v file="$(basename "$model" .lbrt)" '
    function field(text, name) { # the number behind "name":
        if (!match(text, "\"" name "\":")) return ""
        text = substr(text, RSTART + RLENGTH)
        sub(/^\{"median":/, "", text)
        return text + 0
    }
    {
        match($0, /"isa":"[a-z0-9]*"/)
        isa = substr($0, RSTART + 7, RLENGTH - 8)
        n = split($0, run, /\{"kind":/)
        line = "| " file " | " isa
        for (kind = 1; kind <= 2; kind++) {
            for (i = 2; i <= n; i++) {
                if ((run[i] ~ /^"decode"/) == (kind == 1)) {
                    share = field(run[i], kind == 1 ? "bandwidth_share" : "int8_share")
                    line = line sprintf(" | %.*f | %.2f", kind == 1 ? 1 : 0, field(run[i], "tps"), share)
                }
            }
        }
        print line " |"
    }'
done
