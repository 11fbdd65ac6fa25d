#!/bin/sh
# hours.sh SECONDS TARGET...: runs fuzz targets one after the other at the lowest priority, each for that much CPU time, and prints a row for the table
# of README.md. Targets behind a finding still run. For a second core start it again with other targets, when the first has built its own.
set -eu
[ $# -ge 2 ] || { sed -n '2,3s/^# //p' "$0"; exit 2; }
cd "$(dirname "$0")/../.."
seconds=$1
shift
for target; do
    make -s "fuzz-$target" SECONDS=1 FUZZ_FLAGS=-runs=1 >/dev/null 2>&1 || { echo "$target: its first inputs fail, or it cannot be built"; exit 1; }
done
tick=$(getconf CLK_TCK)
found=0
for target; do
    log=build-fuzz/hours-$target.log
    started=$(date +%s)
    (cd build-fuzz && exec nice -n 19 ./fuzz-bin-"$target" -dict=../tests/fuzz/dict/"$target".dict -timeout=3600 -report_slow_units=15 -rss_limit_mb=2048 \
        -print_final_stats=1 corpus-"$target" ../tests/fuzz/corpus/"$target") >"$log" 2>&1 &
    pid=$!
    cpu=0
    while now=$(cut -d' ' -f14,15 "/proc/$pid/stat" 2>/dev/null); do
        cpu=$(((${now% *} + ${now#* }) / tick))
        [ "$cpu" -lt "$seconds" ] || kill -INT "$pid" 2>/dev/null || true
        sleep 1
    done
    wait "$pid" || true
    what=none
    grep -qa 'run interrupted' "$log" || { what="see $log"; found=1; }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    reached=$(grep -a ' cov: ' "$log" | tail -n 1 | sed 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1, \2/')
    echo "| $target | $executions | $((($(date +%s) - started) / 60)) | $cpu | $reached | $what |"
done
exit $found
