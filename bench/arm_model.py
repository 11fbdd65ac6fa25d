#!/usr/bin/env python3
"""Models the inner loops of the ARM kernels on the cores of a Raspberry Pi 5 (Cortex-A76) and 4 (Cortex-A72).

This is a model and no measurement: aarch64-linux-gnu-gcc compiles the kernels, llvm-mca simulates the innermost loop of
each one-token product with all loads in the first-level cache, and the memory is taken to deliver a given speed. Needs
Debian's gcc-aarch64-linux-gnu and llvm. Run it in the root of the repository: python3 bench/arm_model.py [--json]
"""
import json, re, shutil, subprocess, sys, tempfile

MCA = shutil.which("llvm-mca") or shutil.which("llvm-mca-14")
FLAGS = "-std=c11 -D_GNU_SOURCE -O2 -ffp-contract=off -fno-math-errno -S -o -".split()
# file, functions -> weights of one turn of the loop, bits per weight in memory
LOOPS = {
    "kernels/arm/lb_int_%s.c": {"q8": (512, 8.25), "q6": (512, 6.25), "q5": (512, 5.25), "q4": (1024, 4.375), "q3": (512, 3.25),
                                "q2": (512, 2.25), "lut4": (512, 4.25), "lut3": (512, 3.25), "lut2": (512, 2.25),
                                "lut1": (512, 1.25), "tcq4": (512, 4), "tcq3": (512, 3), "tcq2": (512, 2)},
    "kernels/arm/lb_tern_%s.c": {"tern": (320, 1.6)},
    # lookups in tables of bytes (--byte-tables) are those of neon on every level
    "kernels/arm/lb_int_neon.c": {"lut4 bytes": (512, 4.25), "lut3 bytes": (512, 3.25), "lut2 bytes": (512, 2.25), "lut1 bytes": (512, 1.25)},
}
# name, llvm's model, kernels' level, GHz, cores, GB/s of memory assumed
BOARDS = [("Raspberry Pi 5", "cortex-a76", "dotprod", 2.4, 4, 10.0), ("Raspberry Pi 4", "cortex-a72", "neon", 1.8, 4, 4.0)]
WEIGHTS = 1.1e9  # of the model whose tokens/s are given


def function(text, name):
    m = re.search(r"^%s:\n(.*?)^\t\.size\t%s," % (re.escape(name), re.escape(name)), text, re.S | re.M)
    return m.group(1).split("\n") if m else None


def loops_of(lines):
    """First and last line of every piece between a label and a branch back to it."""
    at = {m.group(1): i for i, l in enumerate(lines) if (m := re.match(r"(\.L\d+):", l))}
    loops = []
    for i, l in enumerate(lines):
        m = re.match(r"\t(?:b\.?\w*|cbn?z|tbn?z)\t(?:.*,\s*)?(\.L\d+)$", l)
        if m and at.get(m.group(1), i) < i:
            loops.append((at[m.group(1)], i))
    return loops


def instructions(lines):
    return [l for l in lines if l.startswith("\t") and not l.startswith("\t.")]


def inner_loop(lines):
    """The longest innermost loop that multiplies or looks up, and the rest of the loop around it."""
    loops = loops_of(lines)
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    multiplies = [a for a in inner if any(re.match(r"\t(sdot|udot|smlal|umlal|smull|umull|mla|mul|tbl|\.inst)", l) for l in lines[a[0] : a[1]])]
    if not multiplies:
        return None, None
    a = max(multiplies, key=lambda a: a[1] - a[0])
    around = [b for b in loops if b != a and b[0] <= a[0] and a[1] <= b[1]]
    b = min(around, key=lambda b: b[1] - b[0]) if around else None
    rest = instructions(lines[b[0] + 1 : a[0]] + lines[a[1] + 1 : b[1] + 1]) if b else []
    return instructions(lines[a[0] + 1 : a[1] + 1]), rest


def cycles(loop, cpu):
    body = "\n".join(re.sub(r"\.L\d+", "0", l) for l in loop if not re.match(r"\tprfm", l))
    out = subprocess.run([MCA, "-mtriple=aarch64-linux-gnu", "-mattr=+dotprod", "-mcpu=" + cpu, "-iterations=100", "-"],
                         input=body, capture_output=True, text=True)
    m = re.search(r"Total Cycles:\s+(\d+)", out.stdout)
    return int(m.group(1)) / 100 if m else None


rows = []
for board, cpu, level, ghz, cores, gbs in BOARDS:
    for path, formats in LOOPS.items():
        asm = subprocess.run(["aarch64-linux-gnu-gcc", *FLAGS, path.replace("%s", level)], capture_output=True, text=True, check=True).stdout
        for name, (weights, bits) in formats.items():
            if name in ("lut4", "lut3", "lut2", "lut1"):  # one function; the innermost loop is one bit plane
                plane, rest = inner_loop(function(asm, "lb_t_lut_gemv_" + level))
                planes = int(name[3])
                loop = plane * planes + rest
                c = cycles(plane, cpu) * planes + cycles(rest, cpu)
            for symbol in () if name in ("lut4", "lut3", "lut2", "lut1") else ("lb_gemv_%s_%s" % (name, level), "lb_t_%s_direct_%s" % (name, level), "lb_bytes_%s_neon" % name.split()[0]):
                loop = function(asm, symbol) and inner_loop(function(asm, symbol))[0]
                c = cycles(loop, cpu) if loop else None
                if c:
                    break
            if not c:
                print("no loop found for %s %s" % (name, level), file=sys.stderr)
                continue
            compute, memory = cores * ghz * 1e9 * weights / c, gbs * 1e9 * 8 / bits
            rows.append(dict(board=board, cpu=cpu, level=level, format=name, instructions_per_turn=len(loop), cycles_per_turn=c,
                             cycles_per_weight=c / weights, weights_per_second=compute, tokens_per_second=min(compute, memory) / WEIGHTS,
                             limit="compute" if compute < memory else "memory"))
if "--json" in sys.argv:
    print(json.dumps(rows, indent=1))
else:
    for board, cpu, level, ghz, cores, gbs in BOARDS:
        print("\n%s: %s, %s, %d cores of %.1f GHz, %.0f GB/s assumed\n" % (board, cpu, level, cores, ghz, gbs))
        print("| format | instructions a turn | cycles a weight | G weights/s, all cores | tokens/s, 1.1 G weights | limit |")
        print("| --- | --- | --- | --- | --- | --- |")
        for r in rows:
            if r["board"] == board:
                print("| %s | %d | %.4f | %.1f | %.1f | %s |" % (r["format"], r["instructions_per_turn"], r["cycles_per_weight"],
                                                          r["weights_per_second"] * 1e-9, r["tokens_per_second"], r["limit"]))
