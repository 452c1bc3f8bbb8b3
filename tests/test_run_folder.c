// A run's folder and its log: a run is never lost unasked, other files never at all, and what cannot be
// written is said in one line.
#include "io/json.h"
#include "io/run_folder.h"
#include "scratch.h"

static void put(const char *name) {
    put_file(in_scratch(name), "x", 1);
}

START_TEST(test_new_folder) {
    const char *dir = in_scratch("a/b//run/");
    ck_assert_msg(run_folder_open(dir, false), "%s", gn_error());
    ck_assert(is_there(in_scratch("a/b/run/images")));
    ck_assert_msg(run_folder_open(dir, false), "an empty folder holds no run: %s", gn_error());
    put("a/b/run/notes.txt");
    put("a/b/run/images/notes.txt");
    ck_assert_msg(run_folder_open(dir, false), "notes are no run: %s", gn_error());
    ck_assert(!run_folder_open("", false));
}
END_TEST

START_TEST(test_earlier_run_is_refused) {
    const char *const names[] = {"log.jsonl", "checkpoint.safetensors", "generator.safetensors",
                                 "images/epoch-000000.png", "images/other.png"};
    for (int i = 0; i < 5; i++) {
        char name[64], path[128];
        snprintf(name, sizeof(name), "refused-%d", i);
        ck_assert(run_folder_open(in_scratch(name), false));
        snprintf(path, sizeof(path), "%s/%s", name, names[i]);
        put(path);
        ck_assert_msg(!run_folder_open(in_scratch(name), false), "%s was not taken for a run", names[i]);
        assert_error(in_scratch(path), "--overwrite");
        assert_error(name, "--out");
        ck_assert(is_there(in_scratch(path)));
    }
}
END_TEST

START_TEST(test_overwrite_removes_the_run_alone) {
    const char *const ours[] = {"log.jsonl",
                                "checkpoint.safetensors",
                                "checkpoint.safetensors.tmp",
                                "generator.safetensors",
                                "images/epoch-000000.png",
                                "images/epoch-000012.png",
                                "images/epoch-000012.png.tmp"};
    const char *const others[] = {"notes.txt",
                                  "log.jsonl.gz",
                                  "my.safetensors",
                                  "images/best.png",
                                  "images/epoch-best.png",
                                  "images/epoch-.png",
                                  "images/epoch-1.jpg",
                                  "images/my-epoch-000001.png",
                                  "epoch-000001.png"};
    const char *dir = in_scratch("over");
    ck_assert(run_folder_open(dir, true)); // nothing there to overwrite is fine
    char name[128];
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "over/%s", ours[i]);
        put(name);
    }
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof(name), "over/%s", others[i]);
        put(name);
    }
    ck_assert_msg(run_folder_open(in_scratch("over"), true), "%s", gn_error());
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "over/%s", ours[i]);
        ck_assert_msg(!is_there(in_scratch(name)), "%s is still there", name);
    }
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof(name), "over/%s", others[i]);
        ck_assert_msg(is_there(in_scratch(name)), "%s is gone", name);
    }
}
END_TEST

// Said when the run would begin, and before.
static void assert_cannot_be(const char *dir, bool overwrite, const char *named, const char *why) {
    ck_assert(!run_folder_is_possible(dir, overwrite));
    assert_error(named, why);
    ck_assert(!run_folder_open(dir, overwrite));
    assert_error(named, why);
}

START_TEST(test_folders_that_cannot_be) {
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        assert_cannot_be("", overwrite, "is empty", "--out");
        assert_cannot_be("/dev/null/x", overwrite, "/dev/null/x", "--out");
        put("file");
        assert_cannot_be(in_scratch("file"), overwrite, in_scratch("file"), "is a file");
        assert_cannot_be(in_scratch("file/below/it"), overwrite, in_scratch("file/below"), "is a file");
        assert_holds(in_scratch("file"), "x");
        mkdir(in_scratch("blocked"), 0777);
        put("blocked/images");
        assert_cannot_be(in_scratch("blocked"), overwrite, in_scratch("blocked/images"), "is a file");
    }
    mkdir(in_scratch("odd"), 0777);
    mkdir(in_scratch("odd/log.jsonl"), 0777); // what has our file's name and cannot be unlinked
    ck_assert(!run_folder_open(in_scratch("odd"), true));
    assert_error(in_scratch("odd/log.jsonl"), "cannot remove");
}
END_TEST

// Asking makes nothing; what is possible can be opened, also where a path is relative or ends in a slash.
START_TEST(test_folders_that_can_be) {
    char before[4096];
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(scratch), 0);
    static const char *const dirs[] = {"relative", "relative/", "./relative/a//b/", "/tmp",
                                       "relative/../other"};
    for (int i = 0; i < 5; i++)
        ck_assert_msg(run_folder_is_possible(dirs[i], false), "%s", gn_error());
    ck_assert(!is_there("relative"));
    for (int i = 0; i < 3; i++)
        ck_assert_msg(run_folder_open(dirs[i], false), "%s", gn_error());
    put("relative/log.jsonl");
    ck_assert(!run_folder_is_possible("relative", false));
    assert_error("relative holds a run", "--overwrite");
    ck_assert_msg(run_folder_is_possible("relative", true), "%s", gn_error());
    ck_assert_int_eq(chdir(before), 0);
}
END_TEST

START_TEST(test_names_sort_in_order_of_time) {
    char *before = run_folder_grid_path("runs/gan", 0);
    ck_assert_str_eq(before, "runs/gan/images/epoch-000000.png");
    for (int epoch = 1; epoch < 123456; epoch += epoch < 1100 ? 1 : 97) {
        char *path = run_folder_grid_path("runs/gan", epoch);
        ck_assert_msg(strcmp(before, path) < 0, "%s does not sort before %s", before, path);
        free(before);
        before = path;
    }
    free(before);
}
END_TEST

START_TEST(test_log) {
    const char *dir = in_scratch("log");
    ck_assert(run_folder_open(dir, false));
    run_log *log = run_log_new(dir);
    ck_assert_msg(log != NULL, "%s", gn_error());
    ck_assert(
        run_log_write(log, json_pack("{s:i, s:o, s:f}", "step", 1, "d_loss", json_number(0.5), "lr", 2e-4)));
    const char *path = in_scratch("log/log.jsonl");
    assert_holds(path, "{\"step\":1,\"d_loss\":0.5,\"lr\":0.0002}\n"); // while the log is open still
    ck_assert(
        run_log_write(log, json_pack("{s:s, s:o}", "text", "two\nlines", "g_loss", json_number(0.0 / 0.0))));
    ck_assert(!run_log_write(log, NULL)); // json_pack's answer to what it cannot pack
    assert_error(path, "cannot write");
    ck_assert(run_log_free(log));

    log = run_log_new(dir); // goes on at the end
    ck_assert(run_log_write(log, json_pack("{s:i}", "step", 2)));
    ck_assert(run_log_free(log));
    assert_holds(path, "{\"step\":1,\"d_loss\":0.5,\"lr\":0.0002}\n"
                       "{\"text\":\"two\\nlines\",\"g_loss\":null}\n"
                       "{\"step\":2}\n");
    ck_assert(run_log_free(NULL));
}
END_TEST

// Its lines would be lost.
START_TEST(test_log_that_cannot_be_read) {
    ck_assert(run_folder_open(in_scratch("loop"), false));
    ck_assert_int_eq(symlink("log.jsonl", in_scratch("loop/log.jsonl")), 0);
    ck_assert(!run_log_rewind(in_scratch("loop"), json_pack("{s:s}", "ganc", "0"), 5, -1));
    assert_error(in_scratch("loop/log.jsonl"), "cannot read");
    struct stat status;
    ck_assert_int_eq(lstat(in_scratch("loop/log.jsonl"), &status), 0);
    ck_assert_msg(S_ISLNK(status.st_mode), "it was replaced");
    ck_assert(!is_there(in_scratch("loop/log.jsonl.tmp")));
}
END_TEST

START_TEST(test_log_on_a_full_disk) {
    ck_assert(run_folder_open(in_scratch("full"), false));
    ck_assert_int_eq(symlink("/dev/full", in_scratch("full/log.jsonl")), 0);
    run_log *log = run_log_new(in_scratch("full"));
    ck_assert_msg(log != NULL, "%s", gn_error());
    ck_assert(!run_log_write(log, json_pack("{s:i}", "step", 1)));
    assert_error(in_scratch("full/log.jsonl"), "No space left");
    run_log_free(log);

    ck_assert(run_folder_open(in_scratch("nearly"), false));
    log = run_log_new(in_scratch("nearly"));
    limit_file_size(18); // room for a line and a half
    bool first = run_log_write(log, json_pack("{s:i}", "step", 1));
    bool second = run_log_write(log, json_pack("{s:i}", "step", 2));
    lift_file_size();
    ck_assert(first && !second);
    assert_error(in_scratch("nearly/log.jsonl"), "File too large");
    assert_holds(in_scratch("nearly/log.jsonl"), "{\"step\":1}\n"); // no half line
    run_log_free(log);

    ck_assert(!run_log_new(in_scratch("no/such")));
    assert_error(in_scratch("no/such/log.jsonl"), "No such file");
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("run folder");
    TCase *tests = tcase_create("folder");
    tcase_add_unchecked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, test_new_folder);
    tcase_add_test(tests, test_earlier_run_is_refused);
    tcase_add_test(tests, test_overwrite_removes_the_run_alone);
    tcase_add_test(tests, test_folders_that_cannot_be);
    tcase_add_test(tests, test_folders_that_can_be);
    tcase_add_test(tests, test_names_sort_in_order_of_time);
    tcase_add_test(tests, test_log);
    tcase_add_test(tests, test_log_that_cannot_be_read);
    tcase_add_test(tests, test_log_on_a_full_disk);
    suite_add_tcase(suite, tests);
    return suite;
}
