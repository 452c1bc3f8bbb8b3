// Sample grids: a batch of grey images as one PNG file, with the pixels that torchvision's
// save_image(images, nrow=columns, normalize=True) gives.
#ifndef GANC_IO_IMAGE_GRID_H
#define GANC_IO_IMAGE_GRID_H

#include <stdbool.h>
#include <stdint.h>

// The grid's size in pixels. `columns` images stand in a row, or all where there are fewer; 2 pixels of
// padding lie around each. A single image stands alone, without padding.
void image_grid_size(int count, int height, int width, int columns, int *grid_height, int *grid_width);

// Renders `images`, (count, height, width), count at least 1, into `rgb`, (grid_height, grid_width, 3).
// Every pixel is (x - min) / max(max - min, 1e-5) * 255 + 0.5, truncated, with one min and max over all
// images; padding and places without an image are black. A NaN anywhere makes the whole grid black.
void image_grid_pixels(const float *images, int count, int height, int width, int columns, uint8_t *rgb);

// Renders `images` into the PNG file `path`, which is replaced whole or not at all.
bool image_grid_write(const char *path, const float *images, int count, int height, int width, int columns);

#endif
