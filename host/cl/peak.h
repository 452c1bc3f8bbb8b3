// The most that a device does: arithmetic, memory, launches. Measured, since no data sheet can be trusted.
#ifndef GANC_CL_PEAK_H
#define GANC_CL_PEAK_H

#include "cl/profile.h"

enum { MAX_FOOTPRINTS = 16 };

typedef struct {
    double gflops;                // of fused multiply-adds, two operations each
    char shape[32];               // with which it was reached: "float16, 8 chains"
    double gbs[MAX_FOOTPRINTS];   // gigabytes (10^9) a second read and written by a launch that touches
    double bytes[MAX_FOOTPRINTS]; // so many bytes in all; ascending
    int footprints;
    double launch_us; // a launch in a full queue
    double wait_us;   // a launch, and the wait for it
} device_peaks;

// Measures, each launch in so many rounds, 8 at most, and sees whether the driver's events agree with the
// clock: if not, the profile goes by the clock from now on. With all rounds about a second. False on failure.
bool peak_measure(profile *p, int rounds, device_peaks *peaks);

// The same of arithmetic alone; the other figures stay 0.
bool peak_measure_arithmetic(profile *p, int rounds, device_peaks *peaks);

// The most that a launch which touches so many bytes can move: where that many or more were measured the
// best, since less data never lies farther away.
double peak_gbs(const device_peaks *peaks, double bytes);

// A figure that was reached, and so is a peak if what was measured is less.
void peak_reached(device_peaks *peaks, double gflops, double gbs, double bytes);

#endif
