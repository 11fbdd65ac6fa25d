#!/bin/sh
# check_plain.sh: the library and a program from the sources alone, `cc -O2` without any other flag, as C and with the header in C++;
# an installed copy is found by pkg-config; the program of the README is what is compiled.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$dir/example.c"
[ -s "$dir/example.c" ] || { echo "README.md has no program"; exit 1; }
for cc in ${CC:-cc} ${CLANG-clang}; do
    command -v "$cc" >/dev/null || continue
    "$cc" -O2 -o "$dir/example" "$dir/example.c" -Iinclude runtime/*/*.c kernels/*.c kernels/*/*.c formats/container/*.c -pthread -lm
    "$dir/example" bench/demo/demo.lbrt >/dev/null || { echo "the program failed"; exit 1; }
    status=0
    "$dir/example" /nowhere >/dev/null || status=$?
    [ $status = 1 ] || { echo "the program ended with $status on a missing model"; exit 1; }
    echo '#include "lbrt.h"' >"$dir/alone.c"
    "$cc" -std=c11 -pedantic -Wall -Wextra -Werror -Iinclude -c "$dir/alone.c" -o "$dir/alone.o"
done
if command -v g++ >/dev/null; then
    printf '#include "lbrt.h"\nint main() { return lbrt_version() == LBRT_VERSION ? 0 : 1; }\n' >"$dir/cxx.cc"
    g++ -std=c++11 -Wall -Wextra -Werror -Iinclude "$dir/cxx.cc" build/liblbrt.a -pthread -lm -o "$dir/cxx"
    "$dir/cxx"
fi
make -s install DESTDIR="$dir/root" PREFIX=/opt/lbrt BUILD=build >/dev/null
if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH="$dir/root/opt/lbrt/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$dir/root"
    cc "$dir/example.c" $(pkg-config --cflags --libs lbrt) -o "$dir/installed"
    LD_LIBRARY_PATH="$dir/root/opt/lbrt/lib" "$dir/installed" bench/demo/demo.lbrt >/dev/null
fi
"$dir/root/opt/lbrt/bin/lbrt-convert" -q --synth tiny "$dir/tiny.lbrt"
"$dir/root/opt/lbrt/bin/lbrt-info" --verify "$dir/tiny.lbrt" >/dev/null
echo "plain compilation, C++, installation and the README's program: all right"
