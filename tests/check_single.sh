#!/bin/sh
# check_single.sh: build/lbrt_single.h does what it says. The same bytes each time; compiles without a flag, and clean with all warnings, with gcc
# and clang in less than 20 seconds; nothing visible but lbrt_, with LBRT_STATIC nothing at all; declarations for C++; and the same
# bits as the library whatever the compiler does with a * b + c: -march=native, and 64-bit ARM, where that is one instruction.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
model=$PWD/bench/demo/demo.lbrt
warnings="-Wall -Wextra -Wshadow -Wconversion -Werror"
no() { echo "$*"; exit 1; }
has() { command -v "$1" >/dev/null; }

make -s -j2 build/lbrt_single.h build/liblbrt.a
cp build/lbrt_single.h "$dir/"
make -s BUILD="$dir/again" "$dir/again/lbrt_single.h"
cmp "$dir/again/lbrt_single.h" "$dir/lbrt_single.h" || no "two runs differ"
version=$(awk '/define LBRT_VERSION_(MAJOR|MINOR|PATCH)/ { printf "%s%s", s, $3; s = "." }' include/lbrt.h)
head -n 2 "$dir/lbrt_single.h" | grep -q "lbrt $version .* hash is [0-9a-f]\{16\}" || no "no version and hash on top"

# The program of the README, as anybody would compile it
{
    printf '#define LBRT_IMPLEMENTATION\n#include "lbrt_single.h"\n'
    awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md | grep -v '#include "lbrt.h"'
} >"$dir/app.c"
{ echo '#define LBRT_STATIC'; cat "$dir/app.c"; } >"$dir/static.c"
cd "$dir"
for cc in gcc clang; do
    has $cc || continue
    ($cc app.c -pthread -lm -o app-$cc && times >times) || no "$cc app.c does not compile"
    seconds=$(tail -n 1 times | tr 'ms' '  ' | awk '{ print 60 * ($1 + $3) + $2 + $4 }') # user and system, of what the subshell called
    awk "BEGIN { exit !($seconds < 20) }" || no "$cc app.c -pthread -lm took $seconds seconds of computing"
    ./app-$cc "$model" >app-$cc.out
    [ "$(wc -c <app-$cc.out)" -gt 60 ] || no "$cc: the program said too little"
    others=$(nm -g --defined-only app-$cc | awk '{ print $3 }' | grep -E '^lb' | grep -v '^lbrt_' || true)
    [ -z "$others" ] || no "visible: $others"
    echo "$cc app.c -pthread -lm: $seconds s"
done
[ ! -e app-clang.out ] || cmp app-gcc.out app-clang.out || no "gcc and clang give other text"
echo '#include "lbrt_single.h"
int main() { return lbrt_version() == LBRT_VERSION && sizeof(LBRT_SOURCE_HASH) == 17 ? 0 : 1; }' >user.cc
printf '#define LBRT_IMPLEMENTATION\n#include "lbrt_single.h"\n#include "lbrt_single.h"\n' >one.c
if has clang; then
    clang -std=c11 $warnings static.c -pthread -lm -o static
    ./static "$model" >static.out
    cmp static.out app-gcc.out || no "LBRT_STATIC gives other text"
    ! nm -g --defined-only static | grep -E ' lb' || no "visible with LBRT_STATIC"
    clang -std=c11 $warnings -c one.c
else
    gcc -std=c11 $warnings -c one.c
fi
gcc -std=c11 $warnings -fsyntax-only static.c
gcc -std=c11 $warnings -DLBRT_NO_PTHREADS -fsyntax-only app.c
if has g++; then
    g++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -c user.cc
    g++ user.o one.o -pthread -lm -o user && ./user
fi

# The same bits. Without -std=c11, which alone makes gcc keep a * b + c apart. (Without the pragmas of lb_compiler.h the first of these fails.)
cp "$OLDPWD/tests/tools/logits_hash.c" .
gcc -O2 -I"$OLDPWD/include" logits_hash.c "$OLDPWD/build/liblbrt.a" -pthread -lm -o library
want=$(./library "$model")
bits() { # bits NAME RUN COMPILER...
    name=$1 run=$2
    shift 2
    "$@" $warnings -DLOGITS_HASH_SINGLE logits_hash.c -pthread -lm -o bits
    got=$($run ./bits "$model")
    [ "$got" = "$want" ] || no "$name: the bits of logits are $got, with the library $want"
    echo "same bits: $name"
}
bits "gcc -O3 -march=native" "" gcc -O3 -march=native
! has clang || bits "clang -O2 -march=native" "" clang -O2 -march=native
if has aarch64-linux-gnu-gcc && has qemu-aarch64; then
    arm="qemu-aarch64 -L /usr/aarch64-linux-gnu"
    bits "gcc -O3, aarch64" "$arm" aarch64-linux-gnu-gcc -O3
    # Not only where these tokens lead: as many fused instructions as with -ffp-contract=off; and without either there would be more.
    fused() { aarch64-linux-gnu-objdump -d "$1" | grep -cE '[[:space:]]fn?(madd|msub|mla|mls)[[:space:]]'; }
    mkdir may && sed 's/#pragma GCC optimize("fp-contract=off")//' lbrt_single.h >may/lbrt_single.h && cp logits_hash.c may
    for how in off fast; do
        aarch64-linux-gnu-gcc -O3 -ffp-contract=$how -DLOGITS_HASH_SINGLE -c may/logits_hash.c -o may/$how.o
    done
    counts="$(fused bits) with the pragma of lb_compiler.h, $(fused may/off.o) with -ffp-contract=off, $(fused may/fast.o) without"
    [ "$(fused bits)" = "$(fused may/off.o)" ] && [ "$(fused may/off.o)" -lt "$(fused may/fast.o)" ] || no "fused multiply-adds on aarch64: $counts"
    echo "fused multiply-adds on aarch64: $counts"
    ! has clang || bits "clang -O1, aarch64" "$arm" clang --target=aarch64-linux-gnu -O1
else
    echo "skipped: no compiler or emulator for aarch64"
fi
echo "single file: all right"
