// Handwritten-looking digits, drawn at run time: a data set for where there is none, for tests and CI.
//
// A digit is a few points that a pen passes through. Each image moves the points a little, slants, turns
// and stretches the whole, joins the points by smooth curves, and inks every pixel by its distance from the
// curve. As in MNIST the digit then fills a box of 20 pixels in the middle of 28. All that varies comes from
// the counter-based random numbers of ganc.h with the image's number as their step, so that image i is the
// same however many are drawn.
#include "data/synthetic.h"

#include "ganc.h"

#include <math.h>
#include <string.h>

enum { MAX_POINTS = 16, SPAN_LINES = 6 }; // lines that stand for the curve between two points

typedef enum {
    END,    // of the list of points
    START,  // the pen is put down here
    CURVE,  // passes smoothly
    CORNER, // passes and turns sharply
} pen;

typedef struct {
    pen pen;
    float x, y; // to the right and down
} point;

typedef struct {
    float x, y;
} vec2;

// Two ways to write each digit, in a box of 1 by 1; x is narrowed when drawn.
static const point glyphs[10][2][MAX_POINTS] = {
    {{{START, 0.52F, 0.00F},
      {CURVE, 0.20F, 0.18F},
      {CURVE, 0.10F, 0.52F},
      {CURVE, 0.22F, 0.86F},
      {CURVE, 0.50F, 1.00F},
      {CURVE, 0.80F, 0.84F},
      {CURVE, 0.90F, 0.48F},
      {CURVE, 0.78F, 0.16F},
      {CURVE, 0.48F, 0.01F}},
     {{START, 0.70F, 0.08F},
      {CURVE, 0.40F, 0.03F},
      {CURVE, 0.14F, 0.30F},
      {CURVE, 0.12F, 0.72F},
      {CURVE, 0.42F, 1.00F},
      {CURVE, 0.76F, 0.80F},
      {CURVE, 0.90F, 0.40F},
      {CURVE, 0.70F, 0.06F},
      {CURVE, 0.50F, 0.10F}}},
    {{{START, 0.50F, 0.00F}, {CURVE, 0.50F, 0.50F}, {CURVE, 0.50F, 1.00F}},
     {{START, 0.34F, 0.20F}, {CORNER, 0.54F, 0.00F}, {CURVE, 0.52F, 0.50F}, {CURVE, 0.52F, 1.00F}}},
    {{{START, 0.12F, 0.24F},
      {CURVE, 0.30F, 0.04F},
      {CURVE, 0.62F, 0.02F},
      {CURVE, 0.80F, 0.25F},
      {CURVE, 0.60F, 0.58F},
      {CORNER, 0.10F, 0.98F},
      {CURVE, 0.50F, 0.96F},
      {CURVE, 0.92F, 0.97F}},
     {{START, 0.12F, 0.16F},
      {CURVE, 0.45F, 0.00F},
      {CURVE, 0.78F, 0.18F},
      {CURVE, 0.66F, 0.52F},
      {CURVE, 0.40F, 0.84F},
      {CURVE, 0.16F, 0.98F},
      {CURVE, 0.10F, 0.82F},
      {CURVE, 0.32F, 0.78F},
      {CURVE, 0.62F, 0.95F},
      {CURVE, 0.98F, 0.92F}}},
    {{{START, 0.16F, 0.12F},
      {CURVE, 0.50F, 0.00F},
      {CURVE, 0.78F, 0.18F},
      {CURVE, 0.64F, 0.40F},
      {CORNER, 0.36F, 0.47F},
      {CURVE, 0.70F, 0.54F},
      {CURVE, 0.84F, 0.75F},
      {CURVE, 0.58F, 0.98F},
      {CURVE, 0.12F, 0.92F}},
     {{START, 0.14F, 0.04F},
      {CURVE, 0.45F, 0.05F},
      {CORNER, 0.80F, 0.03F},
      {CORNER, 0.42F, 0.42F},
      {CURVE, 0.72F, 0.48F},
      {CURVE, 0.86F, 0.72F},
      {CURVE, 0.58F, 0.98F},
      {CURVE, 0.12F, 0.90F}}},
    {{{START, 0.22F, 0.02F},
      {CURVE, 0.14F, 0.30F},
      {CORNER, 0.12F, 0.55F},
      {CURVE, 0.50F, 0.56F},
      {CURVE, 0.84F, 0.52F},
      {START, 0.78F, 0.04F},
      {CURVE, 0.74F, 0.50F},
      {CURVE, 0.70F, 1.00F}},
     {{START, 0.66F, 0.00F},
      {CURVE, 0.40F, 0.32F},
      {CORNER, 0.06F, 0.64F},
      {CURVE, 0.50F, 0.63F},
      {CURVE, 0.94F, 0.62F},
      {START, 0.66F, 0.00F},
      {CURVE, 0.66F, 0.50F},
      {CURVE, 0.66F, 1.00F}}},
    {{{START, 0.86F, 0.02F},
      {CURVE, 0.55F, 0.03F},
      {CORNER, 0.28F, 0.04F},
      {CORNER, 0.22F, 0.44F},
      {CURVE, 0.55F, 0.38F},
      {CURVE, 0.84F, 0.62F},
      {CURVE, 0.62F, 0.96F},
      {CURVE, 0.12F, 0.92F}},
     {{START, 0.30F, 0.04F},
      {CURVE, 0.24F, 0.24F},
      {CORNER, 0.24F, 0.44F},
      {CURVE, 0.62F, 0.42F},
      {CURVE, 0.80F, 0.70F},
      {CURVE, 0.52F, 0.98F},
      {CURVE, 0.10F, 0.94F},
      {START, 0.30F, 0.04F},
      {CURVE, 0.60F, 0.04F},
      {CURVE, 0.92F, 0.00F}}},
    {{{START, 0.70F, 0.00F},
      {CURVE, 0.36F, 0.24F},
      {CURVE, 0.16F, 0.62F},
      {CURVE, 0.30F, 0.96F},
      {CURVE, 0.66F, 0.94F},
      {CURVE, 0.78F, 0.70F},
      {CURVE, 0.54F, 0.54F},
      {CURVE, 0.20F, 0.72F}},
     {{START, 0.42F, 0.00F},
      {CURVE, 0.20F, 0.34F},
      {CURVE, 0.14F, 0.72F},
      {CURVE, 0.36F, 1.00F},
      {CURVE, 0.74F, 0.90F},
      {CURVE, 0.78F, 0.64F},
      {CURVE, 0.50F, 0.58F},
      {CURVE, 0.22F, 0.84F}}},
    {{{START, 0.10F, 0.07F},
      {CURVE, 0.48F, 0.07F},
      {CORNER, 0.88F, 0.04F},
      {CURVE, 0.62F, 0.48F},
      {CURVE, 0.42F, 1.00F}},
     {{START, 0.08F, 0.24F},
      {CORNER, 0.14F, 0.05F},
      {CURVE, 0.50F, 0.06F},
      {CORNER, 0.86F, 0.03F},
      {CURVE, 0.66F, 0.45F},
      {CURVE, 0.54F, 1.00F}}},
    {{{START, 0.76F, 0.14F},
      {CURVE, 0.50F, 0.00F},
      {CURVE, 0.22F, 0.18F},
      {CURVE, 0.40F, 0.42F},
      {CURVE, 0.70F, 0.62F},
      {CURVE, 0.72F, 0.88F},
      {CURVE, 0.44F, 1.00F},
      {CURVE, 0.20F, 0.84F},
      {CURVE, 0.32F, 0.60F},
      {CURVE, 0.62F, 0.40F},
      {CURVE, 0.78F, 0.14F}},
     {{START, 0.52F, 0.46F},
      {CURVE, 0.24F, 0.30F},
      {CURVE, 0.34F, 0.04F},
      {CURVE, 0.70F, 0.06F},
      {CURVE, 0.76F, 0.30F},
      {CURVE, 0.46F, 0.50F},
      {CURVE, 0.20F, 0.76F},
      {CURVE, 0.42F, 1.00F},
      {CURVE, 0.76F, 0.86F},
      {CURVE, 0.76F, 0.64F},
      {CURVE, 0.50F, 0.47F}}},
    {{{START, 0.78F, 0.14F},
      {CURVE, 0.48F, 0.00F},
      {CURVE, 0.18F, 0.22F},
      {CURVE, 0.28F, 0.46F},
      {CURVE, 0.60F, 0.42F},
      {CORNER, 0.78F, 0.14F},
      {CURVE, 0.74F, 0.55F},
      {CURVE, 0.64F, 1.00F}},
     {{START, 0.76F, 0.18F},
      {CURVE, 0.50F, 0.00F},
      {CURVE, 0.20F, 0.18F},
      {CURVE, 0.24F, 0.44F},
      {CURVE, 0.56F, 0.44F},
      {CORNER, 0.76F, 0.16F},
      {CURVE, 0.80F, 0.56F},
      {CURVE, 0.64F, 0.96F},
      {CURVE, 0.26F, 0.96F}}},
};

// What varies from image to image, each a number in [0, 1) of the image's draw; then x and y of each point.
enum { WAY, SLANT, TURN, NARROW, TALL, THICK, LEFT, TOP, POINTS, DRAWS = POINTS + 2 * MAX_POINTS };

static float between(float low, float high, float u) {
    return low + (high - low) * u;
}

// fminf() and fmaxf() are calls, which took a quarter of the time: they look for NaNs, of which there are
// none here.
static inline float smaller(float a, float b) {
    return a < b ? a : b;
}

static inline float larger(float a, float b) {
    return a > b ? a : b;
}

// The point at t in [0, 1] between b and c of the Catmull-Rom spline through a, b, c, d.
static vec2 spline(vec2 a, vec2 b, vec2 c, vec2 d, float t) {
    float t2 = t * t, t3 = t2 * t;
    float wa = 0.5F * (2 * t2 - t3 - t), wb = 0.5F * (3 * t3 - 5 * t2 + 2);
    float wc = 0.5F * (4 * t2 - 3 * t3 + t), wd = 0.5F * (t3 - t2);
    return (vec2){wa * a.x + wb * b.x + wc * c.x + wd * d.x, wa * a.y + wb * b.y + wc * c.y + wd * d.y};
}

// Lowers each pixel's squared distance (28, 28) to that of the line a-b, for pixels within `reach` of it.
static void approach(float *distance, vec2 a, vec2 b, float reach) {
    int left = (int)larger(0, ceilf(smaller(a.x, b.x) - reach));
    int top = (int)larger(0, ceilf(smaller(a.y, b.y) - reach));
    int right = (int)smaller(SYNTHETIC_SIZE - 1, floorf(larger(a.x, b.x) + reach));
    int bottom = (int)smaller(SYNTHETIC_SIZE - 1, floorf(larger(a.y, b.y) + reach));
    vec2 along = {b.x - a.x, b.y - a.y};
    float scale = 1 / (along.x * along.x + along.y * along.y + 1e-12F);
    for (int y = top; y <= bottom; y++) {
        for (int x = left; x <= right; x++) {
            float dx = (float)x - a.x, dy = (float)y - a.y;
            float t = smaller(1, larger(0, (dx * along.x + dy * along.y) * scale));
            dx -= t * along.x;
            dy -= t * along.y;
            float *d = &distance[y * SYNTHETIC_SIZE + x];
            *d = smaller(*d, dx * dx + dy * dy);
        }
    }
}

// Places a glyph's points in the image, in pixels, as the draw says; returns how many there are.
static int place(const point *glyph, const float *draw, vec2 *at) {
    float slant = between(-0.10F, 0.45F, draw[SLANT]), turn = between(-0.15F, 0.15F, draw[TURN]);
    float narrow = between(0.62F, 1.05F, draw[NARROW]);
    vec2 low = {INFINITY, INFINITY}, high = {-INFINITY, -INFINITY};
    int count = 0;
    for (; count < MAX_POINTS && glyph[count].pen != END; count++) {
        const float *shift = &draw[POINTS + 2 * count];
        float y = glyph[count].y - 0.5F + between(-0.06F, 0.06F, shift[1]);
        float x = narrow * (glyph[count].x - 0.5F + between(-0.08F, 0.08F, shift[0])) - slant * y;
        at[count] = (vec2){x * cosf(turn) - y * sinf(turn), x * sinf(turn) + y * cosf(turn)};
        low = (vec2){smaller(low.x, at[count].x), smaller(low.y, at[count].y)};
        high = (vec2){larger(high.x, at[count].x), larger(high.y, at[count].y)};
    }
    float scale = between(15.5F, 18.5F, draw[TALL]) / larger(high.x - low.x, high.y - low.y);
    float middle = 0.5F * (SYNTHETIC_SIZE - 1);
    vec2 to = {middle + between(-1.2F, 1.2F, draw[LEFT]), middle + between(-1.2F, 1.2F, draw[TOP])};
    for (int i = 0; i < count; i++) {
        at[i].x = to.x + scale * (at[i].x - 0.5F * (low.x + high.x));
        at[i].y = to.y + scale * (at[i].y - 0.5F * (low.y + high.y));
    }
    return count;
}

static void draw_digit(const point *glyph, const float *draw, uint8_t *image) {
    vec2 at[MAX_POINTS];
    int count = place(glyph, draw, at);
    const float radius = between(0.75F, 1.75F, draw[THICK]), softness = 1.4F; // of the ink's edge, in pixels
    const float reach = radius + 0.5F * softness;
    float distance[SYNTHETIC_SIZE * SYNTHETIC_SIZE];
    for (int i = 0; i < SYNTHETIC_SIZE * SYNTHETIC_SIZE; i++)
        distance[i] = reach * reach;

    for (int i = 0; i + 1 < count; i++) {
        if (glyph[i + 1].pen == START)
            continue;
        // At the ends of a curve the missing neighbour is the end itself.
        vec2 before = glyph[i].pen == CURVE ? at[i - 1] : at[i];
        vec2 after =
            glyph[i + 1].pen == CURVE && i + 2 < count && glyph[i + 2].pen != START ? at[i + 2] : at[i + 1];
        vec2 from = at[i];
        for (int k = 1; k <= SPAN_LINES; k++) {
            vec2 to = spline(before, at[i], at[i + 1], after, (float)k / SPAN_LINES);
            approach(distance, from, to, reach);
            from = to;
        }
    }

    for (int i = 0; i < SYNTHETIC_SIZE * SYNTHETIC_SIZE; i++) {
        float ink = (reach - sqrtf(distance[i])) / softness;
        image[i] = (uint8_t)(255 * smaller(1, larger(0, ink)) + 0.5F);
    }
}

void synthetic_draw(uint64_t seed, int first, int count, uint8_t *images, uint8_t *labels) {
    for (int i = 0; i < count; i++) {
        uint32_t number = (uint32_t)(first + i);
        int32_t ten[10];
        gn_draw_permutation(seed, "synthetic.labels", number / 10, ten, 10);
        float draw[DRAWS];
        gn_draw_uniform(seed, "synthetic.strokes", number, draw, DRAWS);
        labels[i] = (uint8_t)ten[number % 10];
        const point *glyph = glyphs[labels[i]][draw[WAY] < 0.5F ? 0 : 1];
        draw_digit(glyph, draw, images + (size_t)i * SYNTHETIC_SIZE * SYNTHETIC_SIZE);
    }
}
