// Where a start has to compile, most of that is PoCL's work, which it does under one lock, whatever the
// thread or the context: two threads took as long as one after the other (PoCL 3.1). But what it compiled it
// keeps in a folder, where it looks first. So a second process, which needs nothing of the first and tells it
// nothing, makes the same programs and goes through their kernels from the end, while the first one verifies
// products and then goes through them from the beginning. They meet where the rest is in the folder: on two
// cores of a Zen 3 the first step of gan comes after 9 s and not after 14, of dcgan after 14 and not
// after 22. A start that finds all in the folder is over before the second process begins.
//
// Other drivers compile by several threads, or quickly.
#include "train/ahead.h"
#include "base/switches.h"
#include "cl/device.h"
#include "cl/program.h"
#include "train/session.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

// Milliseconds with the data set at hand, after which a start that compiles nothing is over.
enum { WARM_START = 1200 };

static pid_t process;
static int pipe_end = -1; // open as long as this process lives and wants the other one

// Is the other end open, after so many milliseconds? -1 for a pipe is passed over.
static bool is_open(int pipe, int milliseconds) {
    struct pollfd end = {.fd = pipe, .events = POLLIN};
    return poll(&end, 1, milliseconds) == 0;
}

static bool is_wanted(void *pipe) {
    return is_open(*(const int *)pipe, 0);
}

static bool is_pocl(const char *selector) {
    device_list list;
    if (!device_list_find(&list))
        return false;
    const device_info *chosen = device_list_choose(&list, selector);
    bool pocl = chosen && device_is_pocl(chosen);
    device_list_free(&list);
    return pocl;
}

void ahead_compile(const train_options *o, const dataset *data, int pipe) {
    if (!is_pocl(o->device))
        return;
    gn_device_options options = o->device_options;
    options.compile_only = true;
    session s = {.model = o->model, .hyper = o->hyper, .device = gn_device_open(o->device, &options)};
    if (s.device) {
        session_graphs graphs = session_build(&s, data, o->seed, NULL);
        // The other process compiles what is generated before it comes to products, and would compile with
        // this one what neither has in the folder yet.
        gn_graph *const first[] = {graphs.steps[0], graphs.steps[1], graphs.grid};
        bool done = true;
        for (int i = 0; i < 3 && done; i++)
            done = !first[i] || program_compile_products(s.device, first[i]);
        done = done && session_compile(&s, &graphs);
        gn_program *const programs[] = {s.steps[1], s.steps[0], s.grid};
        for (int i = 0; i < 3 && done; i++)
            done = !programs[i] || program_compile_kernels(programs[i], is_wanted, &pipe);
        session_graphs_free(&graphs);
    }
    session_free(&s);
}

// Closes what a reader of the run's output would wait for, and compiles.
static void run(const train_options *options, const dataset *data, int pipe) {
    int nothing = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(nothing, i);
    if (is_open(pipe, WARM_START))
        ahead_compile(options, data, pipe);
}

void ahead_start(const train_options *options, const dataset *data) {
    int ends[2];
    if (gn_is_off("ahead") || sysconf(_SC_NPROCESSORS_ONLN) < 2 || pipe(ends))
        return;
    process = fork();
    if (process == 0) {
        close(ends[1]);
        run(options, data, ends[0]);
        _exit(0);
    }
    close(ends[0]);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    pipe_end = ends[1];
}

void ahead_stop(void) {
    if (pipe_end < 0)
        return;
    if (process > 0) {
        kill(process, SIGKILL); // in the middle of a kernel: PoCL gives a file its name when it is whole
        waitpid(process, NULL, 0);
    }
    close(pipe_end);
    pipe_end = -1;
}
