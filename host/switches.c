#include "switches.h"

#include <stdlib.h>
#include <string.h>

bool gn_is_off(const char *optimisation) {
    const char *off = getenv("GANC_OFF");
    return off && strstr(off, optimisation);
}
