#include "base/switches.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static const char *const switches[] = {
    "fuse",       "epilogue", "columns", "passes", "recompute", "split",       "linear",
    "common",     "concat",   "pieces",  "reuse",  "in-place",  "concurrent",  "awake",
    "huge-pages", "prefetch", "stream",  "tune",   "ahead",     "one-program",
};
enum { SWITCHES = sizeof switches / sizeof *switches };

static bool begins_with_word(const char *list, const char *word) {
    size_t length = strlen(word);
    return strcspn(list, ",") == length && !strncmp(list, word, length);
}

static const char *behind_comma(const char *list) {
    const char *comma = strchr(list, ',');
    return comma ? comma + 1 : NULL;
}

// Is the list's first word a switch? One of no letters counts as one.
static bool begins_with_switch(const char *list) {
    bool found = *list == ',' || !*list;
    for (int i = 0; i < SWITCHES; i++)
        found = found || begins_with_word(list, switches[i]);
    return found;
}

const char *gn_switches_off(void) {
    const char *off = getenv("GANC_OFF");
    return off && *off ? off : NULL;
}

bool gn_is_off(const char *optimisation) {
    GN_ASSERT(begins_with_switch(optimisation), "the list of switches has no '%s'", optimisation);
    for (const char *off = gn_switches_off(); off; off = behind_comma(off))
        if (begins_with_word(off, optimisation))
            return true;
    return false;
}

bool gn_check_switches(void) {
    for (const char *off = gn_switches_off(); off; off = behind_comma(off))
        if (!begins_with_switch(off))
            return gn_fail("$GANC_OFF: there is no switch '%.*s'; the README lists them",
                           (int)strcspn(off, ","), off);
    return true;
}
