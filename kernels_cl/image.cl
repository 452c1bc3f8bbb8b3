// image.cl: images of bytes.

// Between bytes a and b; the weights are sixteenths, the result is rounded.
static uint blend(const uint a, const uint b, const int weight_of_b) {
    return (a * (16 - weight_of_b) + b * weight_of_b + 8) >> 4;
}

// out (N, 32, 32) = in (N, 28, 28) resized bilinearly, as Pillow does it: along the rows first, rounded to
// bytes, then along the columns. The centre of pixel x lies at (x + 1/2) 28/32 - 1/2 = (14 x - 1) / 16 on the
// line of 28; beyond either end the last byte goes on.
// 1-D, any local size, a work-item for each of the n rows of 32 pixels; more do nothing.
kernel void resize(global uchar *out, global const uchar *in, const uint n) {
    const uint i = get_global_id(0);
    if (i < n) {
        const int y = 14 * (int)(i % 32) - 1;
        global const uchar *image = in + i / 32 * (28 * 28);
        global const uchar *above = image + max(y >> 4, 0) * 28, *below = image + min((y >> 4) + 1, 27) * 28;
#pragma unroll
        for (int c = 0; c < 32; c++) {
            const int x = 14 * c - 1, left = max(x >> 4, 0), right = min((x >> 4) + 1, 27);
            const uint top = blend(above[left], above[right], x & 15);
            const uint bottom = blend(below[left], below[right], x & 15);
            out[i * 32 + c] = (uchar)blend(top, bottom, y & 15);
        }
    }
}
