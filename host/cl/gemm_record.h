// What was found out about matrix products on a device, in a file of the user's cache folder.
#ifndef GANC_CL_GEMM_RECORD_H
#define GANC_CL_GEMM_RECORD_H

#include "cl/device.h"

#include <jansson.h>

// Without a file, where there is no cache folder, all else works.
typedef struct {
    char *path;      // NULL: no cache
    json_t *facts;   // all that the rest depends on; readable, and compared when read
    char *engine;    // whose products were found right; NULL: not known yet
    json_t *right;   // the ways of that engine that were found right, the keys of an object
    json_t *chosen;  // object: by product, the way that `ganc tune` found fastest
    json_t *ordered; // true or false: is the concurrent queue as fast as the other? NULL: not known yet
} gemm_record;

// Reads what an earlier start left for this device, driver, `choice` of --gemm and `source` of gemm.cl. A
// file that is unreadable or about something else counts as none, and is overwritten by the next write.
gemm_record gemm_record_read(const gn_device *device, const char *choice, const char *source);

// Replaces the file as a whole. Where that fails the next start finds out again, so that few need care.
bool gemm_record_write(const gemm_record *record);
void gemm_record_free(gemm_record *record);

#endif
