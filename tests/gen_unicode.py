#!/usr/bin/env python3
"""Writes runtime/text/lb_unicode_tables.c from Python's unicodedata (run it with a Python of the Unicode version wanted).

    python3 tests/gen_unicode.py > runtime/text/lb_unicode_tables.c

The tables and how they are searched are described in runtime/text/lb_unicode.c.
"""
import unicodedata as u

END = 0x110000
CLASS = {"C": 0, "L": 1, "M": 2, "N": 3, "P": 4, "S": 5, "Z": 6}


def runs(value):
    """Start of each run of equal values, with the value."""
    out, last = [], None
    for cp in range(END):
        v = value(cp)
        if v != last:
            out.append((cp, v))
            last = v
    return out


def table(ctype, name, rows, per_line, fmt):
    print(f"const {ctype} {name}[{len(rows)}] = {{")
    for i in range(0, len(rows), per_line):
        print("    " + " ".join(fmt(r) + "," for r in rows[i:i + per_line]))
    print("};")
    print(f"const uint32_t {name}_n = {len(rows)};\n")


hangul = range(0xAC00, 0xD7A4)
decomposition = {}
for cp in range(END):
    d = u.decomposition(chr(cp))
    if d and d[0] != "<" and cp not in hangul:
        parts = [int(x, 16) for x in d.split()]
        decomposition[cp] = (parts[0], parts[1] if len(parts) > 1 else 0)
decompositions = sorted(decomposition)
# A pair composes if NFC of its decomposition is the character itself (this leaves out the composition exclusions).
compositions = sorted(
    (decomposition[cp], i) for i, cp in enumerate(decompositions)
    if decomposition[cp][1] and u.normalize("NFC", chr(cp)) == chr(cp))
# The text cannot be cut before these starters: they compose with what stands before them, or decompose into marks.
backward = {b for (_, b), _ in compositions if u.combining(chr(b)) == 0}
backward |= {cp for cp in decompositions
             if u.combining(chr(cp)) == 0 and (u.combining(u.normalize("NFD", chr(cp))[0]) or decomposition[cp][0] in backward)}
backward = sorted(backward)
assert not any(b in decomposition for _, b in decomposition.values())  # lb_unicode.c unfolds only the first part
assert min(decomposition) >= 0xC0 and min(c for c in range(END) if u.combining(chr(c))) >= 0x300
assert max(len(u.normalize("NFD", chr(cp))) for cp in range(END)) <= 4
assert len(decompositions) < 65536

print(f"/* Made by tests/gen_unicode.py from Unicode {u.unidata_version}; see lb_unicode.c. Do not edit. */")
print('#include "lb_unicode.h"\n')
table("uint32_t", "lb_unicode_classes",
      runs(lambda cp: CLASS[u.category(chr(cp))[0]]), 10, lambda r: f"0x{r[0] << 8 | r[1]:x}")
table("uint32_t", "lb_unicode_combining",
      runs(lambda cp: u.combining(chr(cp))), 10, lambda r: f"0x{r[0] << 8 | r[1]:x}")
table("uint64_t", "lb_unicode_decompositions",
      [(cp, *decomposition[cp]) for cp in decompositions], 5, lambda r: f"0x{r[0] << 42 | r[1] << 21 | r[2]:x}")
table("uint16_t", "lb_unicode_compositions", [i for _, i in compositions], 16, str)
table("uint32_t", "lb_unicode_backward", backward, 12, lambda r: f"0x{r:x}")
