// conv.cl: between images and their patches, which is all of a convolution that is not a matrix product.
//
// A convolution moves a K by K window over an image, STRIDE pixels at a time, PADDING pixels of zeros around
// it. im2col makes the pixels under the window at each of its places one row of a matrix; col2im is the
// adjoint map: from such a matrix back to an image, each pixel the sum of its copies. With these,
//
//     conv2d:            y = im2col(x) w       dx = col2im(dy w')    dw = im2col(x)' dy
//     conv_transpose2d:  y = col2im(x w)       dx = im2col(dy) w'    dw = x' im2col(dy)
//
// Both maps are linear, and the gradient of each is the other. So convolution forward, backward by the data
// and backward by the weights, and derivatives of any order, are these two kernels and products.
//
//     image    (N, HEIGHT, WIDTH, CHANNELS)
//     columns  (N * OUT_HEIGHT * OUT_WIDTH, K * K * CHANNELS)
//     columns[(n, oy, ox), (ky, kx, c)] = image[n, oy * STRIDE + ky - PADDING, ox * STRIDE + kx - PADDING, c]
//
// As in pointwise.cl this text is put into the program once for each window that a program has, every time
// with other values of NAME, FUNCTION, WORK and the sizes in capitals. IM2COL or COL2IM says which of the two maps
// it is; VECTOR, which divides CHANNELS, how many channels are moved at a time.
//
// col2im gathers: each pixel looks up the columns that hold it, those with oy * STRIDE + ky = y + PADDING, at
// most ceil(K / STRIDE)^2 of them, in the order of ky, then kx. No atomics, the same bits every time.
//
// The loops over a window are of known length, and unrolled: where a pixel has a single channel they are most of
// the work.
//
// 1-D, any local size; more work-items do nothing. CPU devices: a work-item for each row of places, (n, oy), or of
// pixels, (n, y), n of them, so that most of finding the way is done once for a row. GPU devices: one for each
// vector written, so that neighbours write to neighbouring places.

#ifndef NAME // alone: 3x3 windows, two pixels apart, over images (N, 16, 16, 32)
#define NAME       im2col
#define FUNCTION   im2col_vector
#define WORK       im2col_row
#define APART
#define IM2COL
#define HEIGHT     16
#define WIDTH      16
#define CHANNELS   32
#define K          3
#define STRIDE     2
#define PADDING    1
#define OUT_HEIGHT 8
#define OUT_WIDTH  8
#define VECTOR     1
#define T          float
#define LOAD(p)    *(p)
#define STORE(v, p) *(p) = (v)
#endif

#define VECTORS (CHANNELS / VECTOR) // of a pixel

#ifdef IM2COL

// The vector of channels from c on, under place (ky, kx) of the window at (n, oy, ox).
static T FUNCTION(global const float *image, const uint n, const uint oy, const uint ox, const uint ky, const uint kx,
                  const uint c) {
    // Where these would be negative they wrap round to huge numbers, outside the image as well.
    const uint y = oy * STRIDE + ky - PADDING, x = ox * STRIDE + kx - PADDING;
    return y < HEIGHT && x < WIDTH ? LOAD(image + ((n * HEIGHT + y) * WIDTH + x) * CHANNELS + c) : (T)(0.0f);
}

#ifdef GANC_GPU

kernel void NAME(global const float *image, global float *columns, const uint n) {
    const uint i = get_global_id(0);
    if (i < n) {
        const uint tap = i / VECTORS % (K * K), place = i / (VECTORS * K * K), row = place / OUT_WIDTH;
        const T v = FUNCTION(image, row / OUT_HEIGHT, row % OUT_HEIGHT, place % OUT_WIDTH, tap / K, tap % K,
                             i % VECTORS * VECTOR);
        STORE(v, columns + i * VECTOR);
    }
}

#else

// The row of places (n, oy), whose columns go where `to` points.
static APART void WORK(global const float *image, global float *to, const uint n, const uint oy) {
    for (uint ox = 0; ox < OUT_WIDTH; ox++)
        for (uint ky = 0; ky < K; ky++)
#pragma unroll
            for (uint kx = 0; kx < K; kx++)
                for (uint c = 0; c < CHANNELS; c += VECTOR, to += VECTOR)
                    STORE(FUNCTION(image, n, oy, ox, ky, kx, c), to);
}

kernel void NAME(global const float *image, global float *columns, const uint n) {
    const uint i = get_global_id(0);
    if (i < n)
        WORK(image, columns + i * (OUT_WIDTH * K * K * CHANNELS), i / OUT_HEIGHT, i % OUT_HEIGHT);
}

#endif

#else

#ifdef GANC_GPU
#define SHARE 1 // vectors of a pixel for a work-item
#else
#define SHARE VECTORS
#endif
#define REACH ((K + STRIDE - 1) / STRIDE) // windows that hold a pixel, each way, at most

// SHARE vectors, the channels from c on, of pixel (n, y, x).
static void FUNCTION(global const float *columns, global float *image, const uint n, const uint y, const uint x,
                     const uint c) {
    T sum[SHARE];
    for (uint v = 0; v < SHARE; v++)
        sum[v] = (T)(0.0f);
#pragma unroll
    for (uint down = 0; down < REACH; down++)
#pragma unroll
        for (uint right = 0; right < REACH; right++) {
            const uint ky = (y + PADDING) % STRIDE + down * STRIDE, kx = (x + PADDING) % STRIDE + right * STRIDE;
            // Where these would be negative they wrap round to huge numbers, beyond the last place as well.
            const uint oy = (y + PADDING - ky) / STRIDE, ox = (x + PADDING - kx) / STRIDE;
            const uint row = (n * OUT_HEIGHT + oy) * OUT_WIDTH + ox;
            if (ky < K && kx < K && oy < OUT_HEIGHT && ox < OUT_WIDTH)
                for (uint v = 0; v < SHARE; v++)
                    sum[v] += LOAD(columns + (row * (K * K) + ky * K + kx) * CHANNELS + c + v * VECTOR);
        }
    for (uint v = 0; v < SHARE; v++)
        STORE(sum[v], image + ((n * HEIGHT + y) * WIDTH + x) * CHANNELS + c + v * VECTOR);
}

#ifdef GANC_GPU

kernel void NAME(global const float *columns, global float *image, const uint n) {
    const uint i = get_global_id(0);
    if (i < n) {
        const uint pixel = i / VECTORS, row = pixel / WIDTH;
        FUNCTION(columns, image, row / HEIGHT, row % HEIGHT, pixel % WIDTH, i % VECTORS * VECTOR);
    }
}

#else

// The row of pixels (n, y). By two: with a stride of two, which parts of the windows hold a pixel depends on whether
// x is even.
static APART void WORK(global const float *columns, global float *image, const uint n, const uint y) {
#pragma unroll 2
    for (uint x = 0; x < WIDTH; x++)
        FUNCTION(columns, image, n, y, x, 0);
}

kernel void NAME(global const float *columns, global float *image, const uint n) {
    const uint i = get_global_id(0);
    if (i < n)
        WORK(columns, image, i / HEIGHT, i % HEIGHT);
}

#endif

#undef SHARE
#undef REACH
#endif
#undef VECTORS
