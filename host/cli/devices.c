// `ganc devices`: what OpenCL offers here, and what it might offer if something were mended.
//
// The row numbers and selectors are what --device takes. Finding devices is left to host/cl/.
#include "base/error.h"
#include "cl/device.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "io/json.h"

#include <string.h>

enum { COLUMNS = 8, CELL = 128 };

// ---- For people --------------------------------------------------------------------------------------

typedef char cell[CELL];

// The cells of one device's row.
static void fill_row(cell *row, int index, const device_info *device, bool is_default) {
    snprintf(row[0], CELL, "%s%d", is_default ? "* " : "  ", index);
    snprintf(row[1], CELL, "%s", device->selector);
    snprintf(row[2], CELL, "%s", device->name);
    snprintf(row[3], CELL, "%s", device->vendor);
    snprintf(row[4], CELL, "%s", device->driver);
    snprintf(row[5], CELL, "%s", device_class_name(device->class));
    snprintf(row[6], CELL, "%.1f GiB", (double)device->memory / (1 << 30));
    snprintf(row[7], CELL, "%u", device->units);
}

static void print_table(const device_list *list, const device_info *chosen) {
    cell(*rows)[COLUMNS] = gn_calloc((size_t)list->count + 1, sizeof *rows);
    static const char *const titles[COLUMNS] = {"  #",    "selector", "name",   "vendor",
                                                "driver", "class",    "memory", "units"};
    for (int c = 0; c < COLUMNS; c++) {
        snprintf(rows[0][c], CELL, "%s", titles[c]);
    }
    for (int i = 0; i < list->count; i++) {
        fill_row(rows[i + 1], i, &list->devices[i], &list->devices[i] == chosen);
    }

    int width[COLUMNS] = {0};
    for (int r = 0; r <= list->count; r++) {
        for (int c = 0; c < COLUMNS; c++) {
            int length = (int)strlen(rows[r][c]);
            width[c] = length > width[c] ? length : width[c];
        }
    }
    for (int r = 0; r <= list->count; r++) {
        for (int c = 0; c < COLUMNS; c++) {
            bool number = c >= COLUMNS - 2; // to the right
            printf("%s%*s", c ? "  " : "", number ? width[c] : -width[c], rows[r][c]);
        }
        putchar('\n');
    }
    free(rows);
}

static void print_text(const device_list *list, const device_info *chosen) {
    if (list->count) {
        print_table(list, chosen);
    } else {
        puts("no device");
    }
    if (chosen) {
        puts("\n* is used without --device");
    }
    if (list->skipped_count) {
        puts("\nskipped:");
    }
    for (int i = 0; i < list->skipped_count; i++) {
        printf("  %s\n", list->skipped[i]);
    }
}

// ---- For machines ------------------------------------------------------------------------------------

static json_t *describe(int index, const device_info *device, bool is_default) {
    return json_pack("{si ss so so so so so ss sI sI sb}", "index", index, "selector", device->selector,
                     "name", json_text(device->name), "vendor", json_text(device->vendor), "platform",
                     json_text(device->platform_name), "driver", json_text(device->driver), "version",
                     json_text(device->version), "class", device_class_name(device->class), "memory",
                     (json_int_t)device->memory, "units", (json_int_t)device->units, "default", is_default);
}

static int print_list_as_json(const device_list *list, const device_info *chosen) {
    json_t *devices = json_array(), *skipped = json_array();
    for (int i = 0; i < list->count; i++) {
        json_array_append_new(devices, describe(i, &list->devices[i], &list->devices[i] == chosen));
    }
    for (int i = 0; i < list->skipped_count; i++) {
        json_array_append_new(skipped, json_text(list->skipped[i]));
    }
    return print_json(json_pack("{so so}", "devices", devices, "skipped", skipped));
}

int command_devices(int argc, char **argv) {
    bool json = false;
    const option options[] = {
        {"json", NULL, "Output", "print one JSON object on stdout", FLAG(&json)},
        {.name = NULL},
    };
    const command_syntax syntax = {
        .name = "devices",
        .summary = "List the OpenCL devices, and why a platform or device was skipped.",
        .example = "ganc devices --json",
        .options = options,
    };
    int status = options_parse(&syntax, argc, argv, NULL);
    if (status != OPTIONS_OK) {
        return status;
    }

    device_list list;
    if (!device_list_find(&list)) {
        return run_error();
    }
    const device_info *chosen = device_list_choose(&list, NULL);
    if (json) {
        status = print_list_as_json(&list, chosen);
    } else {
        print_text(&list, chosen);
        status = 0;
    }
    if (!chosen && list.count) {
        run_error(); // GANC_DEVICE means none of them: said, but no failure of this command
    }
    device_list_free(&list);
    return status;
}
