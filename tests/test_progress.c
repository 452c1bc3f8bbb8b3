// Progress: without a terminal the lines of the PyTorch scripts and nothing else; on a terminal a bar that
// never wraps. The terminal is a pseudo-terminal.
#include "io/progress.h"
#include "test.h"

#include <math.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const progress_plan plan = {.steps = 200 * 937, .steps_per_epoch = 937, .epochs = 200, .batch = 64};

// A short run whose stderr is `write_end`, which it closes.
static void show(int write_end) {
    int kept = dup(STDERR_FILENO);
    dup2(write_end, STDERR_FILENO);
    progress *shown = progress_new(plan);
    progress_line(shown, 0, 1.386294, 0.6931);
    progress_redraw(shown, 1);
    progress_line(shown, 987, 0.53, -NAN);
    progress_message(shown, "%s %d", "message", 7);
    progress_redraw(shown, plan.steps); // the last step is drawn however soon it comes
    progress_free(shown);
    progress_free(NULL);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(write_end);
}

// Reads to the end, which is an error where a pseudo-terminal's other side was closed.
static void read_all(int descriptor, char *text, size_t size) {
    size_t length = 0;
    for (ssize_t got; (got = read(descriptor, text + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(descriptor);
}

static const char *const lines[] = {"[Epoch 0/200] [Batch 0/937] [D loss: 1.386294] [G loss: 0.693100]",
                                    "[Epoch 1/200] [Batch 50/937] [D loss: 0.530000] [G loss: nan]",
                                    "message 7"};

START_TEST(test_plain_lines) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    show(ends[1]);
    char text[8192], expected[512];
    read_all(ends[0], text, sizeof(text));
    snprintf(expected, sizeof(expected), "%s\n%s\n%s\n", lines[0], lines[1], lines[2]);
    ck_assert_str_eq(text, expected);
}
END_TEST

START_TEST(test_dumb_terminal) {
    int terminal, screen;
    ck_assert_int_eq(openpty(&terminal, &screen, NULL, NULL, NULL), 0);
    setenv("TERM", "dumb", 1);
    show(screen);
    char text[8192];
    read_all(terminal, text, sizeof(text));
    ck_assert_ptr_null(strchr(text, '\033'));
}
END_TEST

// What a terminal line shows after its carriage returns and erasures: the last drawing.
static const char *last_drawing(char *line) {
    line[strcspn(line, "\n")] = '\0';
    size_t length = strlen(line);
    if (length > 0 && line[length - 1] == '\r')
        line[length - 1] = '\0'; // the terminal's own, before the newline
    char *last = strrchr(line, '\r');
    last = last ? last + 1 : line;
    char *erase = strstr(last, "\033[K");
    if (erase)
        memmove(erase, erase + 3, strlen(erase + 3) + 1);
    return last;
}

START_TEST(test_bar) {
    const int widths[] = {200, 120, 80, 40, 10, 2, 1};
    int columns = widths[_i];
    int terminal, screen;
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
    ck_assert_int_eq(openpty(&terminal, &screen, NULL, NULL, &size), 0);
    setenv("TERM", "xterm", 1);
    show(screen);
    char text[8192];
    read_all(terminal, text, sizeof(text));

    int at = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        if (rest == NULL)
            break; // after the last newline
        // every drawing of a bar on the way must fit, not only the last
        for (char *drawing = line; (drawing = strchr(drawing, '\r')); drawing++) {
            size_t shown = strcspn(drawing + 1, "\r\033");
            ck_assert_msg((int)shown < columns || drawing[1] == '\0' || strstr(drawing, "[Epoch"),
                          "%zu characters on a line of %d columns: %s", shown, columns, drawing);
        }
        const char *seen = last_drawing(line);
        if (at < 3)
            ck_assert_str_eq(seen, lines[at]);
        else if (columns >= 120)
            ck_assert_msg(strncmp(seen, "epoch 199/200  batch 936/937  d 0.53  g nan", 43) == 0 &&
                              strstr(seen, " images/s  0:00 left [####") && !strchr(seen, '-'),
                          "the finished bar: %s", seen);
        at++;
    }
    ck_assert_int_eq(at, 4);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("progress");
    TCase *tests = tcase_create("stderr");
    tcase_add_test(tests, test_plain_lines);
    tcase_add_test(tests, test_dumb_terminal);
    tcase_add_loop_test(tests, test_bar, 0, 7);
    suite_add_tcase(suite, tests);
    return suite;
}
