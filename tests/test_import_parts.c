/*
 * Matrices that a Hugging Face folder stores in parts (lb_hf_parts.h): bit masks and values, SpQR, two factors, int8 and fp8 with scales.
 * One matrix of a tiny model is stored so; what the source gives is compared with the format's definition. Then what is wrong with
 * such parts: one clear sentence each.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_container.h"
#include "../formats/pack/lb_convert.h"
#include "../kernels/lb_math.h"
#include "import_matrix.h"
#include "lb_test.h"

void test_import_parts(void);

static const char ip_24[] = "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"dense\","
                            "\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}}";
static const char ip_spqr[] = "\"quantization_config\":{\"quant_method\":\"spqr\",\"bits\":3,\"beta1\":16,\"beta2\":16}";

/* ---- masks ---- */

typedef struct ip_masked {
    uint16_t values[IP_ROWS * IP_COLS];
    unsigned char bytes[IP_ROWS * IP_COLS], mask[IP_ROWS * IP_COLS / 8];
    uint64_t offsets[IP_ROWS];
    size_t n;
    float want[IP_ROWS * IP_COLS];
} ip_masked;

/* structured: two of each four; else about a third */
static void ip_make_masked(ip_masked *m, bool structured)
{
    memset(m, 0, sizeof *m);
    for (size_t r = 0; r < IP_ROWS; r++) {
        m->offsets[r] = m->n;
        for (size_t c = 0; c < IP_COLS; c++) {
            const size_t i = r * IP_COLS + c;
            const bool keep = structured ? (c + r * 3 + c / 4) % 4 < 2 : lb_test_random() % 3 == 0;
            if (keep) {
                m->bytes[m->n] = (unsigned char)lb_test_random();
                m->values[m->n] = lb_f32_to_bf16(lb_test_gauss());
                m->want[i] = lb_bf16_to_f32(m->values[m->n++]);
                m->mask[i / 8] |= (unsigned char)(1u << i % 8);
            }
        }
    }
}

static void ip_put_masked(mk_safetensors *s, const ip_masked *m, bool structured)
{
    char shape[32];
    const uint64_t sides[2] = { IP_ROWS, IP_COLS };
    snprintf(shape, sizeof shape, structured ? "%d,%zu" : "%.0d%zu", structured ? IP_ROWS : 0, structured ? m->n / IP_ROWS : m->n);
    ip_put(s, structured ? ".compressed" : ".weight.compressed", "BF16", shape, m->values, 2 * m->n);
    ip_put(s, structured ? ".bitmask" : ".weight.bitmask", "U8", "32,8", m->mask, sizeof m->mask);
    ip_put(s, structured ? ".shape" : ".weight.shape", "I64", structured ? "2,1" : "2", sides, sizeof sides);
    if (!structured) {
        ip_put(s, ".weight.row_offsets", "I64", "32", m->offsets, sizeof m->offsets);
    }
}

static void ip_masks(void)
{
    static ip_masked m;
    mk_safetensors s;
    for (int structured = 0; structured < 2; structured++) {
        lb_test_case("compressed-tensors: %s", structured ? "sparse-24-bitmask" : "sparse-bitmask");
        ip_make_masked(&m, structured);
        ip_begin(&s);
        ip_put_masked(&s, &m, structured);
        ip_compare(&s, ip_24, m.want, 0.0f);
    }

    lb_test_case("a mask that is not 2:4");
    ip_make_masked(&m, true);
    m.mask[17] ^= 3; /* as many bits, but not two of the four */
    m.mask[17] ^= 0x40;
    m.mask[18] ^= 0x10;
    ip_begin(&s);
    ip_put_masked(&s, &m, true);
    ip_refused(&s, ip_24, "no mask of 2:4 sparsity");

    lb_test_case("values, masks and shapes that do not fit");
    ip_make_masked(&m, true);
    m.n -= IP_ROWS;
    ip_begin(&s);
    ip_put_masked(&s, &m, true);
    ip_refused(&s, ip_24, "does not hold two values of every four");
    ip_make_masked(&m, false);
    m.offsets[IP_ROWS - 1] = m.n - 1;
    ip_begin(&s);
    ip_put_masked(&s, &m, false);
    ip_refused(&s, ip_24, "points behind the values");
    m.offsets[IP_ROWS - 1] = UINT64_MAX;
    ip_begin(&s);
    ip_put_masked(&s, &m, false);
    ip_refused(&s, ip_24, "points behind the values");
    ip_begin(&s);
    ip_put(&s, ".bitmask", "U8", "32,8", m.mask, sizeof m.mask);
    ip_refused(&s, ip_24, "lacks its values");
    ip_make_masked(&m, true);
    ip_begin(&s);
    ip_put_masked(&s, &m, true);
    ip_put(&s, ".weight", "BF16", "32,64", m.bytes, 0 + 2 * IP_ROWS * IP_COLS / 2); /* too few bytes: the file is refused as such */
    ip_refused(&s, ip_24, "bytes");
    ip_begin(&s);
    ip_put_masked(&s, &m, true);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"marlin-24\"}", "marlin-24");

    lb_test_case("int8 and fp8 with scales, dense and behind a mask");
    static const float f8[] = { 0x1p-9f, 0.875f, 448.0f, -1.5f }; /* 0x01, 0x36, 0x7e, 0xbc */
    static const unsigned char f8_bytes[] = { 0x01, 0x36, 0x7e, 0xbc };
    float scales[IP_ROWS * 4];
    for (size_t i = 0; i < IP_ROWS * 4; i++) {
        scales[i] = lb_test_gauss();
    }
    for (size_t i = 0; i < IP_ROWS * IP_COLS; i++) { /* groups of 16 columns */
        m.want[i] = (float)(int8_t)m.bytes[i] * scales[i / IP_COLS * 4 + i % IP_COLS / 16];
    }
    ip_begin(&s);
    ip_put(&s, ".weight", "I8", "32,64", m.bytes, sizeof m.bytes);
    ip_put(&s, ".weight_scale", "F32", "32,4", scales, sizeof scales);
    ip_compare(&s, "", m.want, 0.0f);
    for (size_t i = 0, v = 0; i < IP_ROWS * IP_COLS; i++) { /* one scale for all */
        const bool kept = m.mask[i / 8] >> i % 8 & 1;
        m.want[i] = kept ? f8[v % 4] * scales[3] : 0.0f;
        m.bytes[v] = f8_bytes[v % 4];
        v += kept;
    }
    const uint64_t sides[2] = { IP_ROWS, IP_COLS };
    ip_begin(&s);
    ip_put(&s, ".compressed", "F8_E4M3", "32,32", m.bytes, m.n);
    ip_put(&s, ".bitmask", "U8", "32,8", m.mask, sizeof m.mask);
    ip_put(&s, ".shape", "I64", "2,1", sides, sizeof sides);
    ip_put(&s, ".weight_scale", "F32", "1", scales + 3, 4);
    ip_compare(&s, ip_24, m.want, 0.0f);
    ip_begin(&s);
    ip_put(&s, ".weight", "I8", "32,64", m.bytes, sizeof m.bytes);
    ip_refused(&s, "", "lacks its weight_scale");
}

/* ---- SpQR ---- */

typedef struct ip_spqr_matrix {
    uint64_t tiles[IP_ROWS * IP_COLS / 16];
    uint32_t offsets[IP_ROWS + 1], outliers[IP_ROWS * 4];
    uint16_t order[IP_COLS];
    float want[IP_ROWS * IP_COLS];
} ip_spqr_matrix;

/* By SpQR's description: random codes, scales of codes, outliers; columns in another order. turns: rows of 16 share offsets. */
static void ip_make_spqr(ip_spqr_matrix *m, bool turns)
{
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < IP_COLS; i++) {
        m->order[i] = (uint16_t)(i * 27 % IP_COLS);
    }
    for (size_t tr = 0; tr < IP_ROWS / 16; tr++) {
        for (size_t tc = 0; tc < IP_COLS / 16; tc++) {
            uint16_t half[4];
            float so[4]; /* scale of scales, scale of zeros, zero of scales, zero of zeros */
            for (size_t i = 0; i < 4; i++) {
                half[i] = lb_f32_to_f16(lb_test_gauss());
                so[i] = lb_f16_to_f32(half[i]);
            }
            const uint64_t second = (uint64_t)half[0] | (uint64_t)half[1] << 16 | (uint64_t)half[2] << 32 | (uint64_t)half[3] << 48;
            for (size_t r = 0; r < 16; r++) {
                const uint64_t ws = lb_test_random() % 8, wz = lb_test_random() % 8;
                const float scale = so[0] * ((float)ws - so[2]), zero = so[1] * ((float)wz - so[3]);
                uint64_t v = ws | wz << 3 | (second >> (r / 2 * 8) & 255) << 54;
                for (size_t i = 0; i < 16; i++) {
                    const uint64_t q = lb_test_random() % 8;
                    v |= q << (6 + 3 * i);
                    m->want[(tr * 16 + r) * IP_COLS + m->order[tc * 16 + i]] = scale * ((float)q - zero);
                }
                m->tiles[tr * IP_COLS + tc * 16 + r] = v;
            }
        }
    }
    for (size_t r = 0; r < IP_ROWS; r++) {
        m->offsets[turns ? r / 16 : r] = (uint32_t)(turns ? r / 16 * 64 : r * 4);
        for (size_t k = 0; k < 4; k++) {
            const uint32_t c = (uint32_t)(lb_test_random() % IP_COLS);
            const uint16_t v = lb_f32_to_f16(10.0f * lb_test_gauss());
            m->outliers[turns ? r / 16 * 64 + k * 16 + r % 16 : r * 4 + k] = (uint32_t)v << 16 | c;
            m->want[r * IP_COLS + m->order[c]] += lb_f16_to_f32(v);
        }
    }
    m->offsets[turns ? IP_ROWS / 16 : IP_ROWS] = IP_ROWS * 4;
}

static void ip_put_spqr(mk_safetensors *s, const ip_spqr_matrix *m, bool turns)
{
    ip_put(s, ".dense_weights", "I64", "128", m->tiles, sizeof m->tiles);
    ip_put(s, ".row_offsets", "I32", turns ? "3" : "33", m->offsets, turns ? 12 : sizeof m->offsets);
    ip_put(s, ".col_vals", "I32", "128", m->outliers, sizeof m->outliers);
    ip_put(s, ".in_perm", "I32", "32", m->order, sizeof m->order);
}

static void ip_spqr_matrices(void)
{
    static ip_spqr_matrix m;
    mk_safetensors s;
    for (int turns = 0; turns < 2; turns++) {
        lb_test_case("SpQR: tiles of 3 bits and outliers%s", turns ? " of 16 rows in turn" : "");
        ip_make_spqr(&m, turns);
        ip_begin(&s);
        ip_put_spqr(&s, &m, turns);
        ip_compare(&s, ip_spqr, m.want, 1e-5f); /* outliers of one place are added in another order */
    }
    lb_test_case("SpQR: no outliers, no order");
    ip_make_spqr(&m, false);
    memset(m.offsets, 0, sizeof m.offsets);
    for (size_t i = 0; i < IP_ROWS * IP_COLS; i++) { /* the tiles' numbers alone */
        const size_t r = i / IP_COLS, c = i % IP_COLS;
        const uint64_t *tile = m.tiles + r / 16 * IP_COLS + c / 16 * 16, v = tile[r % 16];
        float so[4];
        for (size_t k = 0; k < 4; k++) {
            so[k] = lb_f16_to_f32((uint16_t)((tile[4 * k] >> 54 & 255) | (tile[4 * k + 2] >> 54 & 255) << 8));
        }
        m.want[i] = so[0] * ((float)(v & 7) - so[2]) * ((float)(v >> (6 + 3 * (c % 16)) & 7) - so[1] * ((float)(v >> 3 & 7) - so[3]));
    }
    ip_begin(&s);
    ip_put(&s, ".dense_weights", "I64", "128", m.tiles, sizeof m.tiles);
    ip_put(&s, ".row_offsets", "I32", "33", m.offsets, sizeof m.offsets);
    ip_put(&s, ".col_vals", "F32", "0", m.outliers, 0); /* of any type */
    ip_put(&s, ".in_perm", "I32", "0", m.order, 0);
    ip_compare(&s, ip_spqr, m.want, 1e-5f);
    m.offsets[IP_ROWS] = 1;
    ip_begin(&s);
    ip_put(&s, ".dense_weights", "I64", "128", m.tiles, sizeof m.tiles);
    ip_put(&s, ".row_offsets", "I32", "33", m.offsets, sizeof m.offsets);
    ip_refused(&s, ip_spqr, "points behind col_vals");
    lb_test_case("SpQR: offsets and columns that lie");
    ip_make_spqr(&m, false);
    m.offsets[7] = 1 << 30;
    ip_begin(&s);
    ip_put_spqr(&s, &m, false);
    ip_refused(&s, ip_spqr, "does not rise, or points behind");
    ip_make_spqr(&m, false);
    m.outliers[77] |= 0xffff;
    ip_begin(&s);
    ip_put_spqr(&s, &m, false);
    ip_refused(&s, ip_spqr, "names a column that is not there");
    ip_make_spqr(&m, false);
    m.order[5] = IP_COLS;
    ip_begin(&s);
    ip_put_spqr(&s, &m, false);
    ip_refused(&s, ip_spqr, "is no order of the columns");
    ip_begin(&s);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"spqr\",\"bits\":2,\"beta1\":16,\"beta2\":16}", "SpQR with bits other than 3");
}

/* ---- factors ---- */

/* Logits of three tokens, in each level and fed at once or one by one: the same bits */
static void ip_same(const char *path, const float *want)
{
    bool usable;
    const char *isa;
    for (size_t i = 0; (isa = lbrt_isa_name(i, &usable)) != NULL; i++) {
        for (uint32_t batch = 1; usable && batch <= 3; batch += 2) {
            const lbrt_token ids[3] = { 3, 4, 5 };
            lbrt_error err = { LBRT_OK, "" };
            lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
            lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
            mo.isa = isa;
            o.n_batch = batch;
            o.n_threads = batch == 1 ? 2 : 1;
            lbrt_model *model = NULL;
            lbrt_session *session = NULL;
            LB_CHECK(lbrt_model_open(path, &mo, &model, &err) == LBRT_OK && lbrt_session_create(model, &o, &session, &err) == LBRT_OK &&
                         lbrt_feed(session, ids, 3) == LBRT_OK && memcmp(lbrt_logits(session, 0), want, MK_VOCAB * sizeof *want) == 0,
                     "%s, batch %u: other bits; %s", isa, batch, err.text);
            lbrt_session_free(session);
            lbrt_model_close(model);
        }
    }
}

static void ip_factors(void)
{
    enum { RANK = 5 };
    static float a[IP_ROWS * RANK], b[RANK * IP_COLS], want[IP_ROWS * IP_COLS];
    static const char *const names[][2] = { { ".ALinear.weight", ".BLinear.weight" }, { ".1.weight", ".0.weight" }, { NULL, NULL } };
    mk_safetensors s;
    for (size_t i = 0; i < IP_ROWS * RANK; i++) {
        a[i] = lb_test_gauss();
    }
    for (size_t i = 0; i < RANK * IP_COLS; i++) {
        b[i] = lb_test_gauss();
    }
    for (size_t i = 0; i < IP_ROWS * IP_COLS; i++) {
        want[i] = 0.0f;
        for (size_t k = 0; k < RANK; k++) {
            want[i] += a[i / IP_COLS * RANK + k] * b[k * IP_COLS + i % IP_COLS];
        }
    }
    for (size_t i = 0; i < 3; i++) {
        lb_test_case("two factors: %s", names[i][0] ? names[i][0] : "_u_proj");
        ip_begin(&s);
        if (names[i][0]) {
            ip_put(&s, names[i][0], "F32", "32,5", a, sizeof a);
            ip_put(&s, names[i][1], "F32", "5,64", b, sizeof b);
        } else {
            mk_st_tensor(&s, "model.layers.0.mlp.down_u_proj.weight", "F32", "32,5", a, sizeof a);
            mk_st_tensor(&s, "model.layers.0.mlp.down_v_proj.weight", "F32", "5,64", b, sizeof b);
        }
        ip_compare(&s, "", want, 0.0f);
    }

    lb_test_case("two factors: a chain of two packed matrices in the file");
    for (int q = 0; q < 2; q++) {
        lbrt_error err;
        ip_begin(&s);
        ip_put(&s, ".ALinear.weight", "F32", "32,5", a, sizeof a);
        ip_put(&s, ".BLinear.weight", "F32", "5,64", b, sizeof b);
        lb_source *source = ip_open(&s, "", &err);
        const lb_convert_rule rules[2] = { { "*", LB_W_F32 }, { "*ffn_down", q ? LB_W_Q8 : LB_W_F32 } };
        const lb_convert_options o = { .format = q ? LB_W_Q8 : LB_W_F32, .rules = rules, .n_rules = 2, .threads = 2 };
        const lbrt_allocator alloc = lb_allocator_or_default(NULL);
        char path[300];
        strcpy(path, lb_test_temp("factors.lbrt"));
        LB_CHECK(source && lb_convert(source, path, &o, &alloc, &err) == LBRT_OK, "%s", err.text);
        source->close(source);
        lbrt_model *model = NULL;
        lbrt_session *session = NULL;
        static float logits[2][MK_VOCAB];
        const lbrt_token ids[3] = { 3, 4, 5 };
        if (LB_CHECK(lbrt_model_open(path, NULL, &model, &err) == LBRT_OK && lbrt_session_create(model, NULL, &session, &err) == LBRT_OK,
                     "%s", err.text)) {
            LB_CHECK(lbrt_feed(session, ids, 3) == LBRT_OK, "feed");
            memcpy(logits[q], lbrt_logits(session, 0), sizeof logits[q]);
            double off = 0.0, all = 0.0;
            for (size_t i = 0; q && i < MK_VOCAB; i++) {
                off += pow((double)logits[1][i] - (double)logits[0][i], 2.0);
                all += pow((double)logits[0][i], 2.0);
            }
            LB_CHECK(off <= 0.003 * all, "off by %g of %g", off, all);
        }
        lbrt_session_free(session);
        lbrt_model_close(model);
        ip_same(path, logits[q]);
        lb_container c;
        size_t bytes;
        char *data = lb_test_read(path, &bytes);
        unsigned char *aligned = aligned_alloc(64, lb_round_up(bytes, 64));
        memcpy(aligned, data, bytes);
        if (LB_CHECK(lb_container_open(&c, aligned, bytes, &alloc, &err) == LBRT_OK, "%s", err.text)) {
            const lb_tensor *t = lb_container_find(&c, "layers.0.ffn_down");
            LB_CHECK(t && t->n_terms == 1 && t->terms[0].kind == LB_TERM_CHAIN && t->terms[0].parts[0].format == o.format &&
                         t->terms[0].parts[1].format == o.format && t->terms[0].parts[1].rows == RANK,
                     "no chain");
            lb_container_close(&c);
        }
        free(aligned);
        free(data);
    }

    lb_test_case("factors that do not fit");
    ip_begin(&s);
    ip_put(&s, ".ALinear.weight", "F32", "32,5", a, sizeof a);
    ip_refused(&s, "", "lacks the other factor");
    ip_begin(&s);
    ip_put(&s, ".ALinear.weight", "F32", "32,5", a, sizeof a);
    ip_put(&s, ".BLinear.weight", "F32", "64,5", b, sizeof b);
    ip_refused(&s, "", "32 x 5, the other factor 64 x 5");
    ip_begin(&s);
    ip_put(&s, ".ALinear.weight", "F32", "32,5", a, sizeof a);
    ip_put(&s, ".BLinear.weight", "F32", "5,32", b, RANK * 32 * sizeof *b);
    ip_refused(&s, "", "has 32 rows of 32; the model's hyperparameters ask for 32 of 64");
}

void test_import_parts(void)
{
    ip_masks();
    ip_spqr_matrices();
    ip_factors();
}
