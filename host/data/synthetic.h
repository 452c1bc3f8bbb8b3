// Handwritten-looking digits, drawn at run time: see synthetic.c.
#ifndef GANC_SYNTHETIC_H
#define GANC_SYNTHETIC_H

#include <stdint.h>

enum { SYNTHETIC_SIZE = 28 }; // pixels of an image in either direction

// Draws images first .. first + count - 1 of the endless series that belongs to `seed`: `images` (count, 28,
// 28), 0 is paper and 255 ink, and `labels` (count), 0..9. An image depends on the seed and its own number
// alone; images 10 k .. 10 k + 9 hold each digit once, in an order of their own.
void synthetic_draw(uint64_t seed, int first, int count, uint8_t *images, uint8_t *labels);

#endif
