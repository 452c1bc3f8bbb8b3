// Which device is meant: selectors, as --device and GANC_DEVICE take them and `ganc devices` shows them.
//
// A selector is a word with a number ("amd:1": counted among those that the word means), a row of
// `ganc devices`, or a part of a name. What a user means by a word is not what OpenCL reports: PoCL gives a
// CPU the vendor name "AuthenticAMD" and the vendor id of Intel, so a vendor's word means GPUs only. Nothing
// is ever chosen in place of what was asked for.
//
// What devices there are, and in which order, is left to device_list.c.
#include "base/error.h"
#include "cl/device_list.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

// ---- Words -------------------------------------------------------------------------------------------

// Whether a device is one of those that a word of --device counts.
static bool word_means(const char *word, const device_info *device) {
    if (!strcmp(word, "cpu")) {
        return device_is_cpu(device);
    }
    if (!strcmp(word, "gpu")) {
        return device_is_gpu(device);
    }
    if (!strcmp(word, "pocl")) {
        return device_is_pocl(device);
    }
    const char *vendor = device_vendor(device);
    return vendor && !strcmp(word, vendor);
}

// The word that a selector is or begins with, up to a colon; NULL where it is none.
static const char *word_of(const char *selector) {
    static const char *const words[] = {"cpu", "gpu", "pocl", "amd", "nvidia", "intel"};
    size_t length = strcspn(selector, ":");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (length == strlen(words[i]) && !strncasecmp(selector, words[i], length)) {
            return words[i];
        }
    }
    return NULL;
}

void device_list_assign_selectors(device_list *list) {
    for (int i = 0; i < list->count; i++) {
        device_info *device = &list->devices[i];
        const char *vendor = device_vendor(device);
        const char *word = vendor                  ? vendor
                           : device_is_gpu(device) ? "gpu"
                           : device_is_cpu(device) ? "cpu"
                                                   : NULL;
        if (!word) {
            snprintf(device->selector, sizeof device->selector, "%d", i); // an accelerator: its row
            continue;
        }
        int number = 0;
        for (int j = 0; j < i; j++) {
            number += word_means(word, &list->devices[j]);
        }
        snprintf(device->selector, sizeof device->selector, "%s:%d", word, number);
    }
}

// ---- Matching ----------------------------------------------------------------------------------------

// Reads a number of digits alone; what exceeds an int becomes INT_MAX, a row that does not exist.
static bool read_number(const char *text, int *number) {
    if (!*text || text[strspn(text, "0123456789")]) {
        return false;
    }
    unsigned long value = strtoul(text, NULL, 10);
    *number = value > INT_MAX ? INT_MAX : (int)value;
    return true;
}

// The device of that number among those that the word counts; NULL where there are not so many.
static const device_info *nth(const device_list *list, const char *word, int number) {
    for (int i = 0; i < list->count; i++) {
        if (word_means(word, &list->devices[i]) && number-- == 0) {
            return &list->devices[i];
        }
    }
    return NULL;
}

static const device_info *first_named(const device_list *list, const char *part) {
    for (int i = 0; i < list->count; i++) {
        if (text_contains(list->devices[i].name, part) ||
            text_contains(list->devices[i].platform_name, part)) {
            return &list->devices[i];
        }
    }
    return NULL;
}

// The device that a selector means, or NULL with the reason in *problem.
static const device_info *match(const device_list *list, const char *selector, const char **problem) {
    int number = 0;
    const char *word = word_of(selector), *colon = strchr(selector, ':');
    if (word && colon && !read_number(colon + 1, &number)) {
        *problem = "needs a number after the colon, counted from 0";
        return NULL;
    }
    if (word) {
        *problem = "matches nothing";
        return nth(list, word, number);
    }
    if (read_number(selector, &number)) {
        *problem = "is no row of `ganc devices`, which counts from 0";
        return number < list->count ? &list->devices[number] : NULL;
    }
    // Nothing at all is part of every name, and "-1" of many a processor's; nobody means these by that.
    if (selector[0] == '-' || selector[strspn(selector, " ")] == 0) {
        *problem = "is no selector";
        return NULL;
    }
    *problem = "matches nothing";
    return first_named(list, selector);
}

// ---- Choosing ----------------------------------------------------------------------------------------

// "cpu:0 (name), amd:0 (name)"; the caller frees.
static char *what_exists(const device_list *list) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    GN_ASSERT(out, "out of memory on the host");
    for (int i = 0; i < list->count; i++) {
        fprintf(out, "%s%s (%s)", i ? ", " : "", list->devices[i].selector, list->devices[i].name);
    }
    if (list->skipped_count) {
        fputs("; `ganc devices` says what was skipped", out);
    }
    fclose(out);
    return text;
}

// "reason; reason": why no platform has a device; the caller frees.
static char *what_was_skipped(const device_list *list) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    GN_ASSERT(out, "out of memory on the host");
    for (int i = 0; i < list->skipped_count; i++) {
        fprintf(out, "%s%s", i ? "; " : "", list->skipped[i]);
    }
    fputs(list->skipped_count ? "" : "its platforms have none", out);
    fclose(out);
    return text;
}

const device_info *device_list_choose(const device_list *list, const char *selector) {
    if (list->count == 0) {
        char *reasons = what_was_skipped(list);
        gn_fail("OpenCL has no usable device here: %s", reasons);
        free(reasons);
        return NULL;
    }
    const char *from = getenv("GANC_DEVICE"); // empty counts as unset, so that a script can take it back
    bool from_environment = !selector && from && *from;
    selector = from_environment ? from : selector;

    const char *problem = "must be chosen, since there is neither a GPU nor a CPU device";
    const device_info *chosen;
    if (selector) {
        chosen = match(list, selector, &problem);
    } else {
        chosen = nth(list, "gpu", 0);
        chosen = chosen ? chosen : nth(list, "cpu", 0);
    }
    if (!chosen) {
        char *devices = what_exists(list);
        gn_fail("device %s%s%s%s %s; there is %s", selector ? "\"" : "", selector ? selector : "",
                selector ? "\"" : "", from_environment ? " (from GANC_DEVICE)" : "", problem, devices);
        free(devices);
    }
    return chosen;
}
