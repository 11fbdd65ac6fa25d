/* The gate that lets only whole code points through: lbrt_utf8_push. */
#include "../base/lb_base.h"

/*
 * Whether the n (1 to 4) bytes can begin a code point: 0 no, 1 more are needed, 2 they are one. The ranges
 * of the second byte are those of the Unicode Standard's table of well-formed byte sequences.
 */
static int utf8_gate_state(const unsigned char *p, uint32_t n)
{
    const unsigned c = p[0];
    const uint32_t length = c < 0x80                ? 1
                            : c >= 0xc2 && c < 0xe0 ? 2
                            : c >= 0xe0 && c < 0xf0 ? 3
                            : c >= 0xf0 && c < 0xf5 ? 4
                                                    : 0;
    if (length == 0 || n > length) {
        return 0;
    }
    if (n >= 2) {
        const unsigned low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        const unsigned high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (p[1] < low || p[1] > high) {
            return 0;
        }
    }
    for (uint32_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n == length ? 2 : 1;
}

static const char utf8_gate_replacement[3] = { (char)0xef, (char)0xbf, (char)0xbd };

size_t lbrt_utf8_push(lbrt_utf8 *gate, const char *bytes, size_t n, char *out)
{
    size_t written = 0;
    uint32_t held = gate->n_held <= 3 ? gate->n_held : 0; // never more than 3 unless the caller broke it
    for (size_t i = 0; i < n; i++) {
        gate->held[held++] = (unsigned char)bytes[i];
        int state = utf8_gate_state(gate->held, held);
        if (state == 0 && held > 1) { // what was held is lost; the new byte starts afresh
            memcpy(out + written, utf8_gate_replacement, 3);
            written += 3;
            gate->held[0] = (unsigned char)bytes[i];
            held = 1;
            state = utf8_gate_state(gate->held, 1);
        }
        if (state == 0) {
            memcpy(out + written, utf8_gate_replacement, 3);
            written += 3;
            held = 0;
        } else if (state == 2) {
            memcpy(out + written, gate->held, held);
            written += held;
            held = 0;
        }
    }
    if (n == 0 && held) {
        memcpy(out + written, utf8_gate_replacement, 3);
        written += 3;
        held = 0;
    }
    gate->n_held = held;
    return written;
}
