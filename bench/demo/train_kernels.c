/*
 * The elementwise parts of the demo model's training step, for one thread: bfloat16 activations, a float32 residual stream.
 * Compiled and called by train_demo.py; matrix products stay in PyTorch. Layouts: rows of N = batch * time positions; q, k, v by head,
 * [batch][head][time][head_dim]; scores [head][time][time] of one conversation.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;

static inline float widen(bf16 x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline bf16 narrow(float x) /* to nearest, ties to even; no NaN comes here */
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return (bf16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/* y = x / rms(x) * w; rstd is kept for the way back. */
void rms_forward(long n, long d, float eps, const float *x, const float *w, bf16 *y, float *rstd)
{
    for (long i = 0; i < n; i++, x += d, y += d) {
        float sum = 0;
        for (long j = 0; j < d; j++) {
            sum += x[j] * x[j];
        }
        float r = 1.0f / sqrtf(sum / (float)d + eps);
        rstd[i] = r;
        for (long j = 0; j < d; j++) {
            y[j] = narrow(x[j] * r * w[j]);
        }
    }
}

void rms_backward(long n, long d, const float *x, const float *w, const float *rstd, const bf16 *dy, float *dx, float *dw)
{
    for (long i = 0; i < n; i++, x += d, dy += d, dx += d) {
        float r = rstd[i], dot = 0;
        for (long j = 0; j < d; j++) {
            float g = widen(dy[j]);
            dot += g * w[j] * x[j];
            dw[j] += g * x[j] * r;
        }
        float c = dot * r * r * r / (float)d;
        for (long j = 0; j < d; j++) {
            dx[j] = widen(dy[j]) * w[j] * r - x[j] * c;
        }
    }
}

/* Each row of gu: gate, up. h = silu(gate) * up. */
void swiglu_forward(long n, long f, const bf16 *gu, bf16 *h)
{
    for (long i = 0; i < n; i++, gu += 2 * f, h += f) {
        for (long j = 0; j < f; j++) {
            float g = widen(gu[j]);
            h[j] = narrow(g / (1.0f + expf(-g)) * widen(gu[f + j]));
        }
    }
}

void swiglu_backward(long n, long f, const bf16 *gu, const bf16 *dh, bf16 *dgu)
{
    for (long i = 0; i < n; i++, gu += 2 * f, dgu += 2 * f, dh += f) {
        for (long j = 0; j < f; j++) {
            float g = widen(gu[j]), u = widen(gu[f + j]), d = widen(dh[j]), s = 1.0f / (1.0f + expf(-g));
            dgu[j] = narrow(d * u * s * (1.0f + g * (1.0f - s)));
            dgu[f + j] = narrow(d * g * s);
        }
    }
}

/* Rotates (sign 1) or rotates back (sign -1) one head of one position: pairs (i, i + half), as Llama in Hugging Face folders. */
static void rotate(long half, const float *cosine, const float *sine, float sign, float scale, const bf16 *in, bf16 *out)
{
    for (long i = 0; i < half; i++) {
        float a = widen(in[i]), b = widen(in[i + half]), s = sign * sine[i];
        out[i] = narrow((a * cosine[i] - b * s) * scale);
        out[i + half] = narrow((b * cosine[i] + a * s) * scale);
    }
}

/* Rows of q, k, v (heads beside each other) to heads, rotated, q scaled; and the gradients back. */
void rope_split(long batch, long time, long heads, long hd, float scale, const float *cosine, const float *sine, const bf16 *qkv, bf16 *q,
                bf16 *k, bf16 *v)
{
    long d = heads * hd, half = hd / 2;
    for (long row = 0; row < batch * time; row++, qkv += 3 * d) {
        long b = row / time, t = row % time;
        for (long h = 0; h < heads; h++) {
            long at = ((b * heads + h) * time + t) * hd;
            rotate(half, cosine + t * half, sine + t * half, 1.0f, scale, qkv + h * hd, q + at);
            rotate(half, cosine + t * half, sine + t * half, 1.0f, 1.0f, qkv + d + h * hd, k + at);
            memcpy(v + at, qkv + 2 * d + h * hd, (size_t)hd * sizeof *v);
        }
    }
}

void rope_merge(long batch, long time, long heads, long hd, float scale, const float *cosine, const float *sine, const bf16 *dq,
                const bf16 *dk, const bf16 *dv, bf16 *dqkv)
{
    long d = heads * hd, half = hd / 2;
    for (long row = 0; row < batch * time; row++, dqkv += 3 * d) {
        long b = row / time, t = row % time;
        for (long h = 0; h < heads; h++) {
            long at = ((b * heads + h) * time + t) * hd;
            rotate(half, cosine + t * half, sine + t * half, -1.0f, scale, dq + at, dqkv + h * hd);
            rotate(half, cosine + t * half, sine + t * half, -1.0f, 1.0f, dk + at, dqkv + d + h * hd);
            memcpy(dqkv + 2 * d + h * hd, dv + at, (size_t)hd * sizeof *dv);
        }
    }
}

/* In place, causal: row t of each head's [time][time] sees columns 0 .. t. */
void softmax_forward(long heads, long time, bf16 *p)
{
    float e[4096];
    for (long r = 0; r < heads * time; r++, p += time) {
        long t = r % time;
        float max = -1e30f, sum = 0;
        for (long i = 0; i <= t; i++) {
            e[i] = widen(p[i]);
            max = e[i] > max ? e[i] : max;
        }
        for (long i = 0; i <= t; i++) {
            e[i] = expf(e[i] - max);
            sum += e[i];
        }
        for (long i = 0; i <= t; i++) {
            p[i] = narrow(e[i] / sum);
        }
        memset(p + t + 1, 0, (size_t)(time - 1 - t) * sizeof *p);
    }
}

/* dp in place: what the scores get. */
void softmax_backward(long heads, long time, const bf16 *p, bf16 *dp)
{
    for (long r = 0; r < heads * time; r++, p += time, dp += time) {
        long t = r % time;
        float dot = 0;
        for (long i = 0; i <= t; i++) {
            dot += widen(p[i]) * widen(dp[i]);
        }
        for (long i = 0; i <= t; i++) {
            dp[i] = narrow(widen(p[i]) * (widen(dp[i]) - dot));
        }
        memset(dp + t + 1, 0, (size_t)(time - 1 - t) * sizeof *dp);
    }
}

/* Sum of weight * -log p(target); the logits become the gradient of that sum. */
double cross_entropy(long n, long vocab, bf16 *logits, const int32_t *target, const float *weight)
{
    double loss = 0;
    float e[8192];
    for (long i = 0; i < n; i++, logits += vocab) {
        if (weight[i] == 0.0f) {
            memset(logits, 0, (size_t)vocab * sizeof *logits);
            continue;
        }
        float max = -1e30f, sum = 0;
        for (long j = 0; j < vocab; j++) {
            e[j] = widen(logits[j]);
            max = e[j] > max ? e[j] : max;
        }
        float hit = e[target[i]] - max;
        for (long j = 0; j < vocab; j++) {
            e[j] = expf(e[j] - max);
            sum += e[j];
        }
        loss += weight[i] * (logf(sum) - hit);
        float scale = weight[i] / sum;
        for (long j = 0; j < vocab; j++) {
            logits[j] = narrow(e[j] * scale);
        }
        logits[target[i]] = narrow(e[target[i]] * scale - weight[i]);
    }
    return loss;
}
