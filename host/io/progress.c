// Progress on stderr. The bar is one line that is never ended: each drawing starts with a carriage return,
// and whatever is printed in between wipes it first and draws it again below.
#include "io/progress.h"
#include "base/clock.h"
#include "base/error.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double REDRAW_SECONDS = 0.1;
enum { DEFAULT_COLUMNS = 80, MAX_COLUMNS = 250, MIN_BAR = 8, MAX_BAR = 40 };

struct progress {
    progress_plan plan;
    bool terminal;
    bool started; // the first redraw has been: rate and time to go count from there
    long first_done, done;
    double first_time, drawn_time;
    bool has_losses;
    double d_loss, g_loss;
};

progress *progress_new(progress_plan plan) {
    progress *shown = gn_calloc(1, sizeof(*shown));
    shown->plan = plan;
    const char *kind = getenv("TERM");
    shown->terminal = isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
    return shown;
}

// "34:12", or "1:02:03" from an hour on.
static void format_duration(double seconds, char *text, size_t size) {
    long whole = seconds < 1e8 ? (long)(seconds + 0.5) : 100000000;
    if (whole < 3600)
        snprintf(text, size, "%ld:%02ld", whole / 60, whole % 60);
    else
        snprintf(text, size, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

static int terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return DEFAULT_COLUMNS;
    return size.ws_col < MAX_COLUMNS ? size.ws_col : MAX_COLUMNS;
}

// What the bar says in words; returns its length.
static int describe(const progress *shown, char *text, size_t size) {
    const progress_plan *plan = &shown->plan;
    long last = shown->done > 0 ? shown->done - 1 : 0; // the step that was done last
    int length = snprintf(text, size, "epoch %ld/%d  batch %ld/%ld", last / plan->steps_per_epoch,
                          plan->epochs, last % plan->steps_per_epoch, plan->steps_per_epoch);
    if (shown->has_losses)
        length +=
            snprintf(text + length, size - (size_t)length, "  d %.4g  g %.4g", shown->d_loss, shown->g_loss);
    double seconds = shown->drawn_time - shown->first_time;
    if (seconds > 0 && shown->done > shown->first_done) {
        double rate = (double)(shown->done - shown->first_done) / seconds; // steps a second
        char to_go[32];
        format_duration((double)(plan->steps - shown->done) / rate, to_go, sizeof(to_go));
        length += snprintf(text + length, size - (size_t)length, "  %.0f images/s  %s left",
                           rate * plan->batch, to_go);
    }
    return length;
}

// Writes the bar; one column stays free, as a full line would wrap in some terminals.
static void draw(const progress *shown) {
    char line[512];
    int columns = terminal_columns() - 1;
    int length = describe(shown, line, sizeof(line) - MAX_BAR - 4);
    int bar = columns - length - 3; // " [" and "]"
    if (bar >= MIN_BAR) {
        bar = bar < MAX_BAR ? bar : MAX_BAR;
        double share = shown->plan.steps > 0 ? (double)shown->done / (double)shown->plan.steps : 1;
        int filled = (int)(fmin(share, 1) * bar);
        length += sprintf(line + length, " [");
        for (int i = 0; i < bar; i++)
            line[length++] = i < filled ? '#' : '-';
        line[length++] = ']';
    }
    fprintf(stderr, "\r%.*s\033[K", length < columns ? length : columns, line);
}

static void wipe(const progress *shown) {
    if (shown->terminal && shown->started)
        fputs("\r\033[K", stderr);
}

static void draw_again(const progress *shown) {
    if (shown->terminal && shown->started)
        draw(shown);
}

void progress_redraw(progress *shown, long done) {
    if (!shown->terminal)
        return;
    double time = seconds_now();
    if (!shown->started) {
        shown->first_done = done;
        shown->first_time = time;
    } else if (time - shown->drawn_time < REDRAW_SECONDS && done < shown->plan.steps) {
        return;
    }
    shown->started = true;
    shown->done = done;
    shown->drawn_time = time;
    draw(shown);
}

// printf writes a NaN's sign, which means nothing.
static double unsigned_nan(double value) {
    return isnan(value) ? fabs(value) : value;
}

void progress_line(progress *shown, long step, double d_loss, double g_loss) {
    shown->has_losses = true;
    shown->d_loss = unsigned_nan(d_loss);
    shown->g_loss = unsigned_nan(g_loss);
    const progress_plan *plan = &shown->plan;
    progress_message(shown, "[Epoch %ld/%d] [Batch %ld/%ld] [D loss: %f] [G loss: %f]",
                     step / plan->steps_per_epoch, plan->epochs, step % plan->steps_per_epoch,
                     plan->steps_per_epoch, shown->d_loss, shown->g_loss);
}

void progress_message(progress *shown, const char *format, ...) {
    wipe(shown);
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    draw_again(shown);
}

void progress_free(progress *shown) {
    if (!shown)
        return;
    if (shown->terminal && shown->started)
        fputc('\n', stderr);
    free(shown);
}
