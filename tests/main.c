// Runs the suite of the file it is linked with.
#include "test.h"

int main(void) {
    // Only what hangs shall end by time: Check's four seconds are few for a busy machine.
    setenv("CK_DEFAULT_TIMEOUT", "300", 0);
    SRunner *runner = srunner_create(test_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
