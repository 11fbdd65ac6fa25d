#!/bin/sh
# check_includes.sh: includes point downwards, files fit a head, the public header stands alone.
set -eu
fail=0
no() { # no PATTERN FILES...: none of the files includes what matches
    pattern=$1
    shift
    found=$(grep -nE "#include \"[^\"]*($pattern)" "$@" || true)
    [ -z "$found" ] || { echo "include that points the wrong way:"; echo "$found"; fail=1; }
}
no 'runtime/|formats/|bench/|tests/|\.\./include' $(find kernels -name '*.[ch]')
no 'formats/|engine/|api/|text/|bench/|tests/' $(find runtime/base -name '*.[ch]')
no 'formats/|engine/|api/|bench/|tests/' $(find runtime/text -name '*.[ch]')
no 'formats/(import|pack)|api/|bench/|tests/' $(find runtime/engine -name '*.[ch]')
no 'formats/(import|pack)|bench/|tests/' $(find runtime/api -name '*.[ch]')
no 'import/|pack/|engine/|api/|bench/|tests/' $(find formats/container -name '*.[ch]')
no 'engine/|api/|bench/|tests/' $(find formats/import formats/pack -name '*.[ch]')
no 'engine/|base/|text/|kernels/|formats/' runtime/chat.c runtime/chat_history.[ch] bench/lbrt-eval.c bench/lbrt-needle.c bench/demo/demo-score.c runtime/lb_args.h
for f in $(git ls-files '*.c' '*.h' 2>/dev/null | grep -v -e _tables -e '\.inc$'); do
    n=$(wc -l <"$f")
    [ "$n" -le 900 ] || { echo "$f has $n lines"; fail=1; }
done
twice=$(git ls-files '*.c' '*.h' | sed 's|.*/||' | sort | uniq -d)
[ -z "$twice" ] || { echo "file names used twice: $twice"; fail=1; }
[ "$fail" = 0 ] && echo "includes, lengths and names: all right"
exit $fail
