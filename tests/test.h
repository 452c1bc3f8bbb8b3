// What every suite shares.
#ifndef GANC_TEST_H
#define GANC_TEST_H

#include <check.h>
#include <stdlib.h>

Suite *test_suite(void);

#endif
