// Parses a command's arguments by its table of options; see options.h.
//
// Written here rather than with getopt_long(), which accepts abbreviations, knows nothing of numbers and
// their ranges, and cannot say what an unknown option was likely meant to be.
#include "cli/options.h"

#include "error.h"
#include "ganc.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { HELP_COLUMN = 28, MAX_NAMES = 64, MAX_WORD = 64 };

const char *const device_classes[] = {"cpu", "gpu", NULL};
const char *const gemm_choices[] = {"auto", "clblast", "native", NULL};

int usage_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("ganc: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return 2;
}

int run_error(void) {
    fprintf(stderr, "ganc: %s\n", gn_error());
    return 1;
}

// ---- Near names --------------------------------------------------------------------------------------

static int least(int a, int b) {
    return a < b ? a : b;
}

// The number of insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (Damerau
// 1964, in the restricted form: nothing is edited twice). d[i][j] is the distance of the first i characters
// of `a` from the first j of `b`. Words of MAX_WORD characters and more are far from everything.
static int edit_distance(const char *a, const char *b) {
    int rows = (int)strlen(a), columns = (int)strlen(b);
    int d[MAX_WORD][MAX_WORD];
    if (rows >= MAX_WORD || columns >= MAX_WORD)
        return MAX_WORD;
    for (int i = 0; i <= rows; i++)
        for (int j = 0; j <= columns; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            bool same = a[i - 1] == b[j - 1];
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[rows][columns];
}

const char *nearest_name(const char *word, const char *const *names) {
    const char *nearest = NULL;
    int best = MAX_WORD;
    for (; *names != NULL; names++) {
        int distance = edit_distance(word, *names);
        // What begins like a name is often its abbreviation.
        if (strlen(word) >= 3 && strncmp(word, *names, strlen(word)) == 0)
            distance = 1;
        if (distance < best) {
            best = distance;
            nearest = *names;
        }
    }
    // More than two in five letters wrong is another word.
    return nearest != NULL && best * 5 <= (int)strlen(nearest) * 2 + 1 ? nearest : NULL;
}

char *list_words(const char *const *words) {
    char *list = gn_strdup("");
    for (int i = 0; words[i] != NULL; i++) {
        const char *between = i == 0 ? "" : words[i + 1] != NULL ? ", " : " or ";
        char *longer = gn_format("%s%s%s", list, between, words[i]);
        free(list);
        list = longer;
    }
    return list;
}

// ---- Help --------------------------------------------------------------------------------------------

// Prints `text` from the current `column` on, its further lines indented to HELP_COLUMN.
static void print_help_text(int column, const char *text) {
    printf("%*s", HELP_COLUMN - column, "");
    for (; *text != '\0'; text++)
        if (*text == '\n')
            printf("\n%*s", HELP_COLUMN, "");
        else
            putchar(*text);
    putchar('\n');
}

static void print_help(const command_syntax *syntax) {
    printf("usage: ganc %s%s%s [OPTION]...\n\n%s\n", syntax->name, syntax->operand ? " " : "",
           syntax->operand ? syntax->operand : "", syntax->summary);
    const char *group = "";
    for (const option *o = syntax->options; o->name != NULL; o++) {
        if (strcmp(group, o->group) != 0)
            printf("\n%s:\n", group = o->group);
        int column = printf("  --%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        if (column > HELP_COLUMN - 2) {
            putchar('\n');
            column = 0;
        }
        print_help_text(column, o->help);
    }
    printf("\nExample:\n  %s\n", syntax->example);
}

// ---- Arguments ---------------------------------------------------------------------------------------

// Without leading blanks, which strtod() and strtoull() would accept; the whole text must be a number.
static bool starts_number(const char *text) {
    return *text != '\0' && !isspace((unsigned char)*text);
}

static bool parse_real(const char *text, double low, double high, double *value) {
    char *end;
    double number = strtod(text, &end);
    if (!starts_number(text) || *end != '\0' || !isfinite(number) || number < low || number > high)
        return false;
    *value = number;
    return true;
}

// Whole numbers in decimal only: what strtod() would take besides ("1e3", "0x10", "2.0") is a mistyped count.
static bool parse_int(const char *text, double low, double high, int *value) {
    double number;
    const char *digits = *text == '-' ? text + 1 : text;
    if (digits[strspn(digits, "0123456789")] != '\0' || !parse_real(text, low, high, &number))
        return false;
    *value = (int)number;
    return true;
}

static bool parse_u64(const char *text, uint64_t *value) {
    errno = 0;
    unsigned long long number = strtoull(text, NULL, 10);
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || errno != 0 || number > UINT64_MAX)
        return false;
    *value = number;
    return true;
}

static bool parse_choice(const char *text, const char *const *choices, const char **value) {
    for (; *choices != NULL; choices++)
        if (strcmp(text, *choices) == 0) {
            *value = *choices;
            return true;
        }
    return false;
}

static int wrong_choice(const option *o, const char *text) {
    char *words = list_words(o->target.choices);
    const char *meant = nearest_name(text, o->target.choices);
    if (meant == NULL)
        usage_error("--%s '%s' is unknown; it takes %s", o->name, text, words);
    else
        usage_error("--%s '%s' is unknown; did you mean %s? It takes %s", o->name, text, meant, words);
    free(words);
    return 2;
}

// Reads an option's argument into its variable. Returns OPTIONS_OK or, after the message, 2.
static int take_argument(const option *o, const char *text) {
    const option_target *target = &o->target;
    switch (target->kind) {
    case OPTION_FLAG: // takes none
        break;
    case OPTION_TEXT:
        if (*text == '\0')
            return usage_error("--%s '': an empty text; --%s takes %s", o->name, o->name, o->argument);
        *(const char **)target->value = text;
        return OPTIONS_OK;
    case OPTION_CHOICE:
        if (parse_choice(text, target->choices, target->value))
            return OPTIONS_OK;
        return wrong_choice(o, text);
    case OPTION_INT:
        if (parse_int(text, target->low, target->high, target->value))
            return OPTIONS_OK;
        return usage_error("--%s '%s': not a whole number from %.0f to %.0f%s%s", o->name, text, target->low,
                           target->high, target->why ? ": " : "", target->why ? target->why : "");
    case OPTION_U64:
        if (parse_u64(text, target->value))
            return OPTIONS_OK;
        return usage_error("--%s '%s': not a whole number from 0 to %llu", o->name, text,
                           (unsigned long long)UINT64_MAX);
    case OPTION_REAL:
        if (parse_real(text, target->low, target->high, target->value))
            return OPTIONS_OK;
        return usage_error("--%s '%s': not a number from %g to %g", o->name, text, target->low, target->high);
    }
    return OPTIONS_OK;
}

// ---- Parsing -----------------------------------------------------------------------------------------

// The option whose name is the first `length` characters of `name`; NULL when there is none.
static const option *find_option(const option *options, const char *name, size_t length) {
    for (const option *o = options; o->name != NULL; o++)
        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

static int unknown_option(const command_syntax *syntax, const char *word) {
    const char *names[MAX_NAMES] = {"help"};
    int count = 1;
    for (const option *o = syntax->options; o->name != NULL && count < MAX_NAMES - 1; o++)
        names[count++] = o->name;
    char typed[MAX_WORD];
    int dashes = (int)strspn(word, "-");
    snprintf(typed, sizeof typed, "%.*s", (int)strcspn(word + dashes, "="), word + dashes);
    const char *meant = nearest_name(typed, names);
    if (meant == NULL)
        return usage_error("unknown option '%s'; 'ganc %s --help' lists them", word, syntax->name);
    return usage_error("unknown option '%s'; did you mean --%s? 'ganc %s --help' lists them", word, meant,
                       syntax->name);
}

// Takes the option in argv[*index] and, where that follows, its argument, of which it leaves *index.
static int take_option(const command_syntax *syntax, int argc, char **argv, int *index) {
    const char *word = argv[*index];
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        print_help(syntax);
        return 0;
    }
    size_t length = strncmp(word, "--", 2) == 0 ? strcspn(word + 2, "=") : 0;
    const option *o = find_option(syntax->options, word + 2, length);
    if (o == NULL)
        return unknown_option(syntax, word);
    const char *argument = word[2 + length] == '=' ? word + 2 + length + 1 : NULL;
    if (o->target.kind == OPTION_FLAG) {
        if (argument != NULL)
            return usage_error("--%s takes no value; '%s' gives it one", o->name, word);
        *(bool *)o->target.value = true;
        return OPTIONS_OK;
    }
    if (argument == NULL) {
        // `--out --json` is a forgotten value, not a folder's name; `--out=--json` says that it is one.
        if (*index + 1 >= argc || strncmp(argv[*index + 1], "--", 2) == 0)
            return usage_error("--%s needs a value: --%s %s; see 'ganc %s --help'", o->name, o->name,
                               o->argument, syntax->name);
        argument = argv[++*index];
    }
    return take_argument(o, argument);
}

int options_parse(const command_syntax *syntax, int argc, char **argv, const char **operand) {
    const char *found = NULL;
    bool options_ended = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!options_ended && strcmp(word, "--") == 0) {
            options_ended = true;
        } else if (!options_ended && word[0] == '-' && word[1] != '\0') {
            int status = take_option(syntax, argc, argv, &i);
            if (status != OPTIONS_OK)
                return status;
        } else if (syntax->operand == NULL || found != NULL) {
            return usage_error("unexpected argument '%s'; see 'ganc %s --help'", word, syntax->name);
        } else {
            found = word;
        }
    }
    if (syntax->operand != NULL && found == NULL)
        return usage_error("a %s is missing; see 'ganc %s --help'", syntax->operand, syntax->name);
    if (operand != NULL)
        *operand = found;
    return OPTIONS_OK;
}
