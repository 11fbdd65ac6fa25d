/* What the names of tensors say: format, rotation and place of each. */
#include "lb_convert_job.h"

bool lb_glob_match(const char *glob, const char *text)
{
    const char *star = NULL, *retry = NULL;
    for (;;) {
        if (*glob == '*') {
            star = ++glob;
            retry = text;
        } else if (*text && (*glob == '?' || *glob == *text)) {
            glob++;
            text++;
        } else if (!*text && !*glob) {
            return true;
        } else if (star && *retry) {
            glob = star;
            text = ++retry;
        } else {
            return false;
        }
    }
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && memcmp(s + n - m, end, m) == 0;
}

bool lb_convert_is_vector(const char *name)
{
    return ends_with(name, "_norm") || ends_with(name, "_bias") || strcmp(name, "rope_factors") == 0;
}

lb_wformat lb_convert_format(const lb_convert_options *o, const lb_source_tensor *tensor)
{
    lb_wformat format = o->format;
    const lb_wformat_info *info = lb_wformat_find((uint32_t)format);
    bool edge = strcmp(tensor->name, "tok_embed") == 0 || strcmp(tensor->name, "out_head") == 0;
    if (tensor->ternary) {
        format = LB_W_TERN;
    } else if (edge && info && (info->bits < 8.0 || format == LB_W_INT8)) {
        format = LB_W_Q8;
    }
    for (size_t i = 0; i < o->n_rules; i++) {
        if (lb_glob_match(o->rules[i].glob, tensor->name)) {
            format = o->rules[i].format;
        }
    }
    return format;
}

bool lb_convert_rotates(const lb_wformat_info *f, const char *tensor)
{
    return f->rotate && strcmp(tensor, "tok_embed") != 0;
}

void lb_convert_input(const char *tensor, char out[64])
{
    static const char *const same[][2] = { { "attn_k", "attn_q" }, { "attn_v", "attn_q" }, { "ffn_up", "ffn_gate" } };
    const char *dot = strrchr(tensor, '.'), *last = dot ? dot + 1 : tensor;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        last = strcmp(last, same[i][0]) == 0 ? same[i][1] : last;
    }
    lb_format(out, 64, "%.*s%s", (int)(dot ? dot + 1 - tensor : 0), tensor, last);
}

uint32_t lb_convert_rotation(const char *tensor, uint32_t n, unsigned char *bytes)
{
    char name[64];
    lb_convert_input(tensor, name);
    const uint64_t input = lb_hash64(name, strlen(name));
    uint32_t block = LB_TRANSFORM_MIN_BLOCK;
    while (n % (2 * block) == 0 && block < 4096) {
        block *= 2;
    }
    lb_store_u32(bytes, block);
    lb_store_u32(bytes + 4, n);
    for (uint32_t i = 0; i < n / 8; i += 8) { /* splitmix64 */
        uint64_t z = input + 0x9e3779b97f4a7c15ull * (i / 8 + 1);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        lb_store_u64(bytes + LB_ROTATION_HEAD + i, z ^ z >> 31);
    }
    return block;
}

uint64_t lb_convert_place(const char *name)
{
    static const char *const steps[] = { "attn_q attn_k attn_v", "attn_o", "ffn_gate ffn_up", "ffn_down" };
    uint64_t layer = 0;
    if (strncmp(name, "layers.", 7) != 0) {
        return strncmp(name, "out_", 4) == 0 ? UINT64_MAX : 0;
    }
    for (name += 7; *name >= '0' && *name <= '9'; name++) {
        layer = 10 * layer + (uint64_t)(*name - '0');
    }
    uint64_t step = 0;
    for (uint64_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        step = *name && strstr(steps[i], name + 1) ? i : step; /* vectors: at the layer's start */
    }
    return 1 + 4 * layer + step;
}
