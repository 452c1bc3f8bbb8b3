// What every suite shares.
#ifndef GANC_TEST_H
#define GANC_TEST_H

#include <check.h>
#include <stdlib.h>

Suite *test_suite(void);

// ck_assert_msg() for inner loops: Check's own writes to a file at every call, failed or not.
#define REQUIRE(condition, ...)                                                                              \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            ck_abort_msg(__VA_ARGS__);                                                                       \
    } while (0)

#endif
