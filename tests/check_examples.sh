#!/bin/sh
# check_examples.sh: the README's program and those of tests/examples compile without a warning and do what they show, on the demo model.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
model=bench/demo/demo.lbrt
c="${CC:-cc} -std=c11 -O2 -Wall -Wextra -Wshadow -Wconversion -Werror -Iinclude"
no() { echo "$*"; exit 1; }

awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$dir/readme.c"
$c "$dir/readme.c" build/liblbrt.a -pthread -lm -o "$dir/readme"
"$dir/readme" $model >"$dir/readme.out" || no "the README's program failed"
[ "$(wc -c <"$dir/readme.out")" -gt 60 ] || no "the README's program said too little"
for name in own_memory_and_threads cancel save_restore; do
    $c tests/examples/$name.c build/liblbrt.a -pthread -lm -o "$dir/$name"
    "$dir/$name" $model "$dir/state" >"$dir/$name.out" 2>"$dir/$name.err" || no "$name failed: $(cat "$dir/$name.out" "$dir/$name.err")"
    if "$dir/$name" /nowhere "$dir/state" >"$dir/err" 2>&1; then no "$name did not fail without a model"; fi
done
[ "$(head -n 1 "$dir/own_memory_and_threads.out" | wc -c)" -gt 20 ] || no "own_memory_and_threads said too little"
# The same tokens in memory and threads of the host's own; 32 of the 64
head -n 1 "$dir/readme.out" | grep -qF "$(head -n 1 "$dir/own_memory_and_threads.out")" || no "own_memory_and_threads: other tokens"
tail -n 1 "$dir/save_restore.out" | grep -qx "the same" || no "save_restore: $(cat "$dir/save_restore.out")"
grep -q "^cancelled after" "$dir/cancel.out" || no "cancel: $(cat "$dir/cancel.out")"
for cxx in g++ clang++; do
    command -v $cxx >/dev/null || continue
    $cxx -std=c++11 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude tests/examples/talk.cc build/liblbrt.a -pthread -lm -o "$dir/talk" || {
        echo 'int main() { return 0; }' >"$dir/try.cc"
        $cxx "$dir/try.cc" -o "$dir/try" 2>/dev/null || { echo "skipped: $cxx does not work here"; continue; }
        no "talk.cc does not compile with $cxx"
    }
    "$dir/talk" $model "What is 2 + 2?" >"$dir/talk.out"
    build/chat --temp 0 -p "What is 2 + 2?" >"$dir/chat.out"
    cmp "$dir/talk.out" "$dir/chat.out" || no "talk.cc answers otherwise than chat"
done
echo "examples: all right"
