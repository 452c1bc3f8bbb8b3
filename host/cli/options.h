// Options: one table for each command, which drives the parsing, its --help and its error messages.
//
// A command fills its variables with the defaults, lists them in a table of options, and calls
// options_parse():
//
//     bool json = false;
//     const option options[] = {
//         {"json", NULL, "Output", "print one JSON object on stdout", FLAG(&json)},
//         {.name = NULL},
//     };
//     const command_syntax syntax = {.name = "devices", .summary = "List the OpenCL devices.",
//                                    .example = "ganc devices --json", .options = options};
//     int status = options_parse(&syntax, argc, argv, NULL);
//     if (status != OPTIONS_OK)
//         return status;
//
// Long options only, written out: `--batch 64` or `--batch=64`, before or after the operands. An abbreviation
// is refused, since the next version's options could change its meaning in somebody's script. --help and -h
// are understood by every command and stand in no table. Choices may share a name: a word belongs to the one
// that has it.
#ifndef GANC_CLI_OPTIONS_H
#define GANC_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { OPTION_FLAG, OPTION_TEXT, OPTION_CHOICE, OPTION_INT, OPTION_U64, OPTION_REAL } option_kind;

// How an option's argument is read, and where it goes. The macros below write one.
typedef struct {
    option_kind kind;
    void *value;                // bool, const char *, int, uint64_t or double, by the kind
    double low, high;           // of OPTION_INT and OPTION_REAL: the allowed range, ends included
    const char *why;            // a reason for the range that a message should give, or NULL
    const char *const *choices; // of OPTION_CHOICE: the allowed words, ending with NULL
} option_target;

// clang-format off
#define FLAG(variable) {OPTION_FLAG, (bool *){variable}, 0, 0, NULL, NULL}
#define TEXT(variable) {OPTION_TEXT, (const char **){variable}, 0, 0, NULL, NULL}
#define CHOICE(variable, words) {OPTION_CHOICE, (const char **){variable}, 0, 0, NULL, words}
#define INT(variable, low, high, why) {OPTION_INT, (int *){variable}, low, high, why, NULL}
#define U64(variable) {OPTION_U64, (uint64_t *){variable}, 0, 0, NULL, NULL}
#define REAL(variable, low, high) {OPTION_REAL, (double *){variable}, low, high, NULL, NULL}

// The rows of every command that opens a device, into a const char * and a gn_device_options.
#define DEVICE_OPTIONS(selector, options)                                                                    \
    {"device", "D", "Device", "as 'ganc devices' names it: gpu, cpu, amd:0, part of a name, a row's number\n" \
     "(default: $GANC_DEVICE, else the first GPU, else the first CPU device)", TEXT(&(selector))},           \
    {"class", "C", "Device", "the kernels of a class of device, cpu or gpu (default: the device's)",         \
     CHOICE(&(options).device_class, device_classes)},                                                       \
    {"gemm", "G", "Device", "matrix products by auto, clblast or native (default auto)",                     \
     CHOICE(&(options).gemm, gemm_choices)},                                                                 \
    {"kernels", "DIR", "Device", "read the kernels from DIR/*.cl, rather than those in the program",         \
     TEXT(&(options).kernels)}
// clang-format on

typedef struct {
    const char *name;     // without the dashes
    const char *argument; // what --help calls it, "N"; NULL for a flag
    const char *group;    // heading in --help; options of a group stand together
    const char *help;     // what it does, with its default; "\n" starts a new line
    option_target target;
} option;

typedef struct {
    const char *name;      // "replay"
    const char *operand;   // "TRACE" where the command takes exactly one operand; NULL where it takes none
    const char *summary;   // what the command does, one or a few lines
    const char *example;   // a line to type, or several
    const option *options; // ends with a NULL name
} command_syntax;

extern const char *const device_classes[], *const gemm_choices[]; // words of DEVICE_OPTIONS

enum { OPTIONS_OK = -1 };

// Reads argv[1] .. argv[argc - 1] into the variables of the table, and the operand into *operand (which may
// be NULL where there is none). Returns OPTIONS_OK; or the status to exit with: 0 after --help, 2 after an
// error, which has been printed.
int options_parse(const command_syntax *syntax, int argc, char **argv, const char **operand);

// Prints "ganc: TEXT" on stderr. Returns 2, the exit status of a usage error.
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Prints "ganc: " and gn_error() on stderr. Returns 1, the exit status of a failure.
int run_error(void);

// Says what is under way where stderr is a terminal, in one line that the next one replaces; "" for nothing.
void show_progress(const char *what);

// The one of `names` (ends with NULL) that somebody who typed `word` most likely meant; NULL when none is
// near. An edit distance decides, and a word that begins a name is near to it.
const char *nearest_name(const char *word, const char *const *names);

// The names of all models, ending with NULL.
enum { MAX_MODELS = 32 };
void list_models(const char *names[MAX_MODELS + 1]);

// The words (end with NULL) as "a, b or c". The caller frees.
char *list_words(const char *const *words);

#endif
