/*
 * Matrices of other people's codes with scales, as GPTQ, AWQ, compressed-tensors, bitsandbytes, AQLM, ModelOpt, HQQ and VPTQ store them (lb_hf_coded.c says what is what in a folder). Their rows are
 * read as floats: what lbrt keeps is packed anew.
 *
 *   GPTQ    words [cols * bits / 32][rows]: column after column is a stream of bits down the words of a row, lowest first; zeros [groups][rows * bits / 32] a stream along
 *           the rows; scales [groups][rows]. Or in planes (gptq_p): 32 codes in as many words as they have bits, those of planes of 8, 4, 2 and 1 bits that add up to
 *           a code, the wide ones, which are the low bits, first
 *   AWQ     words [cols][rows / 8]: nibbles 0 to 7 are rows 0, 2, 4, 6, 1, 3, 5, 7 of eight; zeros [groups][rows / 8] the same; scales [groups][rows]
 *   GEMV    AWQ's layout for vectors: words [rows][cols / 8], zeros [rows][line / 8], nibbles in order, lowest first; scales [rows][line], of which the groups come first
 *   FAST    AWQ's newer one: 16-bit words [rows / 4][cols], columns in an order of their own (fast_at); scales and what is added, -scale * zero, [line][rows]
 *   PACKED  words [rows][cols / (32 / bits), rounded up], codes in order, lowest first, or, as a stream of bits, [rows][cols * bits / 32, rounded up]; zeros
 *           [rows / (32 / bits) or rows * bits / 32, rounded up][groups] the same down the rows, or bytes [rows][groups]; scales [rows][groups]
 *           In these a number is scale * (code - zero), zero 2^(bits - 1) if there are none.
 *   TABLE   nibbles, the high one first, flat over the matrix: the table's number times its block's size
 *   BOOKS   codes [rows / height][cols / width][n_books], one or two bytes each, of which `bits` count; books [n_books][2^bits][height][width]: the sum of a rectangle of each
 *           book, times the scale of the rows that it covers (AQLM, arXiv 2401.06118; PV-Tuning: mostly of one row)
 *   FP4     nibbles of E2M1, the low one first, [rows][cols / 2]; scales [rows][groups], numbers or, of MXFP4, exponents e of 2^(e - 127); times the factor of all (NVFP4)
 *   HQQ     the numbers of the matrix in order as a table [groups][width], or turned: [width of a group][groups]. Words (bytes, of 3 bits int32) [lines][..] hold `per` rows of
 *           that table each, lines apart, the first one in the highest bits; a number is (code - zero) * scale, floats of its group
 *   VPTQ    vectors down the rows (arXiv 2409.17066), see lb_codes_vectors; columns are then put in the model's order, times scales [cols], plus zeros [cols]
 */
#ifndef LB_CODES_H
#define LB_CODES_H

#include "lb_ggml_types.h"

typedef enum lb_codes_kind {
    LB_CODES_GPTQ,
    LB_CODES_AWQ,
    LB_CODES_GEMV,
    LB_CODES_FAST,
    LB_CODES_PACKED,
    LB_CODES_TABLE,
    LB_CODES_BOOKS,
    LB_CODES_FP4,
    LB_CODES_HQQ,
    LB_CODES_VPTQ
} lb_codes_kind;

/*
 * Some columns of VPTQ: groups of `cols` of them, each with books of 2^bits vectors of `width` numbers, and maybe of 2^more_bits that are added. A column's vectors lie one under
 * the other, `down` of them, the last one cut off. Codes [groups][down][cols] have 16 bits each (more codes are in `more`); or a line of cols is a stream of words [..], in it
 * both codes of a column behind each other, all of it lowest bit first.
 */
typedef struct lb_codes_vectors {
    const unsigned char *codes, *more, *books, *more_books; /* more_books NULL: none */
    uint64_t groups, down, cols, width;
    unsigned bits, more_bits;
    bool streams;
} lb_codes_vectors;

typedef struct lb_codes {
    lb_codes_kind kind;
    unsigned bits;
    uint64_t rows, cols;
    const unsigned char *words;
    const unsigned char *zeros; /* NULL: none */
    bool one_less;              /* zeros are stored less one, modulo 2^bits */
    bool planes;                /* GPTQ's codes and zeros are in planes */
    bool borrows;               /* and the one was taken from whole words: a zero of 0 borrows from the next */
    bool odd_threes;            /* in 3 bits, that was not one of each (codes_odd_zero) */
    bool byte_zeros;            /* PACKED: signed bytes, of codes less 2^(bits - 1) */
    bool stream;                /* PACKED: codes go on in the next word */
    bool byte_codes;            /* PACKED: signed bytes [rows][cols] instead of words, of codes less 128 */
    bool one;                   /* PACKED: one scale and one zero for the whole matrix */
    const unsigned char *scales;
    const lb_ggml_type *scale_type;
    const unsigned char *groups; /* i32 for each column: its group; NULL: groups of `width` columns in order */
    uint64_t n_groups, line;     /* line: GEMV's, FAST's: groups there is place for */

    /* TABLE: f32 numbers of the codes; sizes of blocks in scales, as f32, or bytes of a second table times sizes of their own, plus an offset */
    const unsigned char *table, *second, *sizes;
    uint64_t block, size_block;
    float offset;

    uint64_t width; /* columns of a group (the last may have fewer), or of a rectangle of BOOKS */

    /* BOOKS: table has the books */
    const lb_ggml_type *table_type;
    uint64_t n_books, height;
    unsigned code_bytes;

    float factor; /* FP4: scale_type NULL for exponents */

    /* HQQ: width is that of the table's rows */
    const lb_ggml_type *zero_type;
    uint64_t lines;
    unsigned per;
    bool turned;

    /* VPTQ: the columns of outliers, if there are any (groups is 0 if not), and behind them all others; books of table_type. order: u16 or u64, the model's column of each; NULL:
     * its own. scales and zeros NULL: none */
    lb_codes_vectors vectors[2];
    const unsigned char *order;
    unsigned order_bytes;
} lb_codes;

/* Everything was checked: n rows from `row` on, out [n][cols]. */
void lb_codes_rows(const lb_codes *c, uint64_t row, uint64_t n, float *out);

#endif /* LB_CODES_H */
