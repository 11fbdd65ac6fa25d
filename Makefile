# lbrt: the low-bit runtime. `make` builds everything into build/; `make test` runs the tests; `make help` lists the rest.
#
# No configure step and no flag is needed for speed: every instruction-set level is compiled in and chosen at run time.
# Cross builds: make CC=aarch64-linux-gnu-gcc BUILD=build-arm. Variants: make asan, ubsan, tsan (each tests in a folder of its own).

CC      ?= cc
AR      ?= ar
BUILD   ?= build
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wconversion -Werror
STD     := -std=c11 -D_GNU_SOURCE -ffp-contract=off -fvisibility=hidden -fPIC -fno-math-errno -pthread
LDLIBS  += -lm
RUN     ?=

LIB_SRC  := $(sort $(wildcard kernels/*.c kernels/*/*.c formats/container/*.c runtime/*/*.c))
TOOL_SRC := $(wildcard formats/import/*.c formats/pack/*.c formats/calib/*.c)
TEST_SRC := $(wildcard tests/*.c tests/fuzz/*.c)
PROGRAMS := chat lbrt-convert lbrt-info lbrt-bench lbrt-eval lbrt-needle
VERSION  := $(shell awk '/define LBRT_VERSION_(MAJOR|MINOR|PATCH)/ { printf "%s%s", s, $$3; s = "." }' include/lbrt.h)

LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)
# In optimized builds: for size what does no arithmetic and what few machines use; no tables for unwinding, as nothing is thrown through C
COLD_OBJ := $(filter $(addprefix $(BUILD)/obj/,runtime/api/% runtime/text/% formats/container/% \
    runtime/base/lb_os% runtime/base/lb_status% runtime/base/lb_buffer% runtime/engine/lb_model% runtime/engine/lb_adapter% \
    runtime/engine/lb_session% runtime/engine/lb_kv_move% runtime/engine/lb_kv_share% \
    runtime/engine/lb_kv.o runtime/engine/lb_snap% runtime/engine/lb_attn_queries% kernels/lb_select% kernels/x86/%_sse.o),$(LIB_OBJ))
TOOL_OBJ := $(TOOL_SRC:%.c=$(BUILD)/obj/%.o)
TEST_OBJ := $(TEST_SRC:%.c=$(BUILD)/obj/%.o)
TESTS    := $(patsubst tests/test_%.c,%,$(sort $(wildcard tests/test_*.c)))

all: $(BUILD)/liblbrt.a $(BUILD)/liblbrt.so $(PROGRAMS:%=$(BUILD)/%) $(BUILD)/demo-score $(BUILD)/demo-unpack

ifneq ($(filter -O2,$(CFLAGS)),)
$(COLD_OBJ): SIZE += -Os
$(LIB_OBJ): SIZE += -fno-asynchronous-unwind-tables
ifeq ($(findstring clang,$(CC)),)
$(LIB_OBJ): SIZE += -fno-align-functions -fno-align-jumps -fno-align-labels
endif
endif

$(BUILD)/obj/kernels/%.o: SIZE += $(KERNEL_CFLAGS)
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(SIZE) -MMD -MP -c $< -o $@

$(BUILD)/liblbrt.a: $(LIB_OBJ)
	rm -f $@ && $(AR) rcs $@ $^

# Constants and code in one segment, without gaps of a page. Relocations are not packed, which would save 12 KB: glibc before 2.36 could not load that.
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
SEGMENTS := -Wl,-z,noseparate-code
endif

# One set of objects serves both libraries: with hidden visibility position independence costs nothing measurable.
$(BUILD)/liblbrt.so: $(LIB_OBJ)
	$(CC) -shared -Wl,-soname,liblbrt.so.0 $(SEGMENTS) $(CFLAGS) -pthread $^ -o $@ $(LDLIBS)

# Converters and kernel benchmarks see the internal floors; chat and everything like it sees only the library.
$(BUILD)/liblbrt-tools.a: $(TOOL_OBJ)
	rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/chat: $(BUILD)/obj/runtime/chat.o $(BUILD)/obj/runtime/chat_history.o $(BUILD)/liblbrt.a
$(BUILD)/lbrt-convert: $(BUILD)/obj/formats/lbrt-convert.o $(BUILD)/obj/formats/lb_convert_report.o $(BUILD)/liblbrt-tools.a $(BUILD)/liblbrt.a
$(BUILD)/lbrt-info: $(BUILD)/obj/formats/lbrt-info.o $(BUILD)/liblbrt.a
$(BUILD)/lbrt-bench: $(BUILD)/obj/bench/lbrt-bench.o $(BUILD)/obj/bench/lb_kernel_bench.o $(BUILD)/obj/bench/lb_machine.o $(BUILD)/liblbrt-tools.a $(BUILD)/liblbrt.a
$(BUILD)/lbrt-eval: $(BUILD)/obj/bench/lbrt-eval.o $(BUILD)/liblbrt.a
$(BUILD)/lbrt-needle: $(BUILD)/obj/bench/lbrt-needle.o $(BUILD)/liblbrt.a
$(BUILD)/demo-score: $(BUILD)/obj/bench/demo/demo-score.o $(BUILD)/liblbrt.a
$(BUILD)/demo-unpack: $(BUILD)/obj/bench/demo/demo-unpack.o $(BUILD)/liblbrt.a
$(PROGRAMS:%=$(BUILD)/%) $(BUILD)/demo-score $(BUILD)/demo-unpack:
	$(CC) $(CFLAGS) -pthread $^ -o $@ $(LDLIBS)

# ---- tests: one runner; a file tests/test_NAME.c defines test_NAME() and is found here ----

$(BUILD)/test_list.inc: $(wildcard tests/test_*.c) Makefile
	@mkdir -p $(@D)
	@printf '$(foreach t,$(TESTS),LB_TEST_ENTRY($(t))\n)' > $@

$(BUILD)/obj/tests/lb_test.o: $(BUILD)/test_list.inc
$(BUILD)/obj/tests/lb_test.o: STD += -I$(BUILD)

$(BUILD)/lbrt-test: $(TEST_OBJ) $(BUILD)/liblbrt-tools.a $(BUILD)/liblbrt.a
	$(CC) $(CFLAGS) -pthread $^ -o $@ $(LDLIBS)

test: all $(BUILD)/lbrt-test
	$(RUN) $(BUILD)/lbrt-test $(ONLY)

asan:
	$(MAKE) BUILD=build-asan CFLAGS="-O1 -g -DLB_DEBUG -fsanitize=address -fno-omit-frame-pointer" test
ubsan:
	$(MAKE) BUILD=build-ubsan CFLAGS="-O3 -g -DLB_DEBUG -fsanitize=undefined -fno-sanitize-recover=all" test
TSAN_MAKE = $(MAKE) BUILD=build-tsan CFLAGS="-O1 -g -fsanitize=thread"
tsan:
	$(TSAN_MAKE) test
tsan-stress:
	$(TSAN_MAKE) stress

# 100 sessions in 8 threads for SECONDS; see tests/tools/stress.c
$(BUILD)/stress: $(BUILD)/obj/tests/tools/stress.o $(BUILD)/liblbrt.a
	$(CC) $(CFLAGS) -pthread $^ -o $@ $(LDLIBS)
stress: $(BUILD)/stress $(BUILD)/lbrt-convert
	@mkdir -p $(BUILD)/models
	@test -f $(BUILD)/models/stress.lbrt || $(BUILD)/lbrt-convert -q --synth tiny $(BUILD)/models/stress.lbrt
	$(RUN) $(BUILD)/stress $(BUILD)/models/stress.lbrt $(SECONDS) $(SEED)

# ---- fuzzing (clang): make fuzz-NAME SECONDS=60; tests/fuzz/README.md ----

SECONDS ?= 60
# Kernels see no hostile bytes that were not checked, and take minutes to compile with everything: the address sanitizer is enough there.
FUZZ_BASE := tests/fuzz/lb_fuzz.c tests/fuzz/lb_fuzz_text.c tests/fuzz/lb_fuzz_api.c tests/fuzz/lb_fuzz_api_calls.c tests/fuzz/lb_fuzz_hf.c \
	tests/hand_file.c tests/make_adapter.c tests/make_models.c tests/small_models.c
FUZZ_MAKE = $(MAKE) BUILD=build-fuzz CC=clang CFLAGS="-O1 -g -DLB_DEBUG -DLB_FUZZER -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" KERNEL_CFLAGS=-fno-sanitize=undefined,fuzzer-no-link
FUZZ_LIBS := $(FUZZ_BASE:%.c=$(BUILD)/obj/%.o) $(BUILD)/liblbrt-tools.a $(BUILD)/liblbrt.a

$(BUILD)/fuzz-bin-api: $(BUILD)/obj/tests/fuzz/lb_fuzz_api_program.o
$(BUILD)/fuzz-bin-%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(FUZZ_LIBS)
	$(CC) -fsanitize=fuzzer,address,undefined -pthread $^ -o $@ $(LDLIBS)
$(BUILD)/fuzz_seeds: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/tools/fuzz_seeds*.c)) $(FUZZ_LIBS)
	$(CC) $(CFLAGS) -pthread $^ -o $@ $(LDLIBS)

fuzz-seeds:
	$(FUZZ_MAKE) build-fuzz/fuzz_seeds
	build-fuzz/fuzz_seeds tests/fuzz/corpus
fuzz-%:
	$(FUZZ_MAKE) build-fuzz/fuzz-bin-$*
	@mkdir -p build-fuzz/corpus-$*
	cd build-fuzz && $(abspath build-fuzz)/fuzz-bin-$* -dict=../tests/fuzz/dict/$*.dict -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048 \
		-print_final_stats=1 $(FUZZ_FLAGS) corpus-$* ../tests/fuzz/corpus/$*

# ---- the whole runtime in one header; test-single runs all tests on one object that is made from it, without a flag but -fPIC ----

$(BUILD)/lbrt-single: $(BUILD)/obj/runtime/lbrt-single.o $(BUILD)/obj/runtime/base/lb_hash.o
	$(CC) $(CFLAGS) $^ -o $@
$(BUILD)/lbrt_single.h: $(BUILD)/lbrt-single include/lbrt.h $(LIB_SRC) $(wildcard kernels/*.h kernels/*/*.h formats/container/*.h runtime/*/*.h)
	$(RUN) $(BUILD)/lbrt-single include/lbrt.h $(LIB_SRC) >$@.part && mv $@.part $@
$(BUILD)/obj/lbrt_single.o: $(BUILD)/lbrt_single.h
	@printf '#define LBRT_IMPLEMENTATION\n#include "lbrt_single.h"\n' >$(BUILD)/lbrt_single.c
	$(CC) -std=c11 $(WARN) -fPIC -DLBRT_LINK_VISIBLE $(SINGLE_FLAGS) -c $(BUILD)/lbrt_single.c -o $@

single: $(BUILD)/lbrt_single.h
test-single:
	$(MAKE) BUILD=$(BUILD)-single LIB_OBJ=$(BUILD)-single/obj/lbrt_single.o test

# ---- WebAssembly (emscripten): a page that talks, and the golden tokens of the demo model for node ----

EMCC    ?= emcc
WASM    := $(EMCC) -std=gnu11 -O2 -msimd128 -msse4.1 -DLBRT_NO_PTHREADS -I$(BUILD)
WASM_LD := $(EMCC) -O1 -sALLOW_MEMORY_GROWTH

$(BUILD)/web/lbrt.js: bench/demo/web/lbrt-web.c $(BUILD)/lbrt_single.h
	@mkdir -p $(@D)
	$(WASM) -c $< -o $(BUILD)/web/lbrt.o
	$(WASM_LD) $(BUILD)/web/lbrt.o -o $@ -sENVIRONMENT=worker -sEXPORTED_FUNCTIONS=_malloc,_free \
		-sEXPORTED_RUNTIME_METHODS=UTF8ToString,stringToUTF8,lengthBytesUTF8
web: $(BUILD)/web/lbrt.js
	cp bench/demo/web/index.html bench/demo/web/worker.js bench/demo/demo.lbrt $(BUILD)/web/
	@echo 'serve the folder $(BUILD)/web, for example: python3 -m http.server -d $(BUILD)/web'

$(BUILD)/web/lbrt-test.js: $(BUILD)/lbrt_single.h tests/lb_test.c tests/test_demo.c formats/import/lb_json.c
	@mkdir -p $(@D)
	@printf 'LB_TEST_ENTRY(demo)\n' >$(BUILD)/web/test_list.inc
	@printf '#define LBRT_IMPLEMENTATION\n#include "lbrt_single.h"\n' >$(BUILD)/web/lbrt_single.c
	cd $(BUILD)/web && for f in lbrt_single.c $(abspath $(filter %.c,$^)); do $(WASM) -I. -I.. -DLBRT_LINK_VISIBLE -DLB_TEST_DEMO_ALONE -c $$f || exit 1; done
	cd $(BUILD)/web && $(WASM_LD) lbrt_single.o $(patsubst %.c,%.o,$(notdir $(filter %.c,$^))) -o $(@F) -sNODERAWFS -sENVIRONMENT=node
web-test: $(BUILD)/web/lbrt-test.js
	node --no-experimental-fetch $(BUILD)/web/lbrt-test.js # this emscripten takes fetch for a browser's

bench: all
	@mkdir -p $(BUILD)/models
	@test -f $(BUILD)/models/bench-q4.lbrt || $(BUILD)/lbrt-convert --synth tinyllama-1.1b --format q4 $(BUILD)/models/bench-q4.lbrt
	$(BUILD)/lbrt-bench $(BUILD)/models/bench-q4.lbrt

# The small model that lies in the repository: talk to it, or see how many held-out prompts it answers.
demo: $(BUILD)/chat
	@$(RUN) $(BUILD)/chat bench/demo/demo.lbrt

demo-score: $(BUILD)/demo-score
	@$(RUN) $(BUILD)/demo-score bench/demo/demo.lbrt

FORCE:
$(BUILD)/lbrt.pc: Makefile include/lbrt.h FORCE
	@printf 'prefix=%s\nincludedir=$${prefix}/include\nlibdir=$${prefix}/lib\n\nName: lbrt\nDescription: low-bit language model runtime\nVersion: %s\nCflags: -I$${includedir}\nLibs: -L$${libdir} -llbrt\nLibs.private: -pthread -lm\n' '$(PREFIX)' '$(VERSION)' > $@

install: all $(BUILD)/lbrt.pc
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/lbrt
	install -m 644 include/lbrt.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(BUILD)/liblbrt.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(BUILD)/liblbrt.so $(DESTDIR)$(PREFIX)/lib/liblbrt.so.0
	ln -sf liblbrt.so.0 $(DESTDIR)$(PREFIX)/lib/liblbrt.so
	install -m 644 $(BUILD)/lbrt.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/
	install -m 755 $(PROGRAMS:%=$(BUILD)/%) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 bench/demo/demo.lbrt $(DESTDIR)$(PREFIX)/share/lbrt/

clean:
	rm -rf build build-*

help:
	@echo 'make            libraries and programs into build/'
	@echo 'make demo       talk to the small model in bench/demo (make demo-score: how well it answers)'
	@echo 'make test       all tests (ONLY=name runs one file)'
	@echo 'make single     build/lbrt_single.h, the whole runtime in one header (make test-single: all tests on it)'
	@echo 'make bench      tokens per second of a 1.1B model of random weights'
	@echo 'make web        build/web: a page with the demo model, in WebAssembly (emscripten); make web-test: its golden tokens'
	@echo 'make asan ubsan tsan   the tests under a sanitizer'
	@echo 'make stress     100 sessions in 8 threads, everything at random, SECONDS=60'
	@echo 'make fuzz-NAME  one of the fuzz targets in tests/fuzz, SECONDS=60 (clang)'
	@echo 'make install PREFIX=/usr/local [DESTDIR=]'

.PHONY: all single test-single web web-test demo demo-score test asan ubsan tsan bench install clean help fuzz-seeds stress tsan-stress
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
