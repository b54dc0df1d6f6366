/* Plays tests/scenarios/ *.txt; each file is one test. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../proxy/log.h"
#include "scenario.h"

static void play(void **state)
{
    char file[512];
    snprintf(file, sizeof file, TESTS_DIR "/scenarios/%s", (const char *)*state);
    assert_true(scenario_play(file, TESTS_DIR "/scenarios/house"));
}

static int wanted(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 4 && strcmp(e->d_name + n - 4, ".txt") == 0;
}

int main(int argc, char **argv)
{
    log_open(LOG_LEVEL_ERROR);
    struct dirent **found;
    int n = scandir(TESTS_DIR "/scenarios", &found, wanted, alphasort);
    if (n <= 0) {
        fprintf(stderr, "no scenarios\n");
        return 1;
    }
    struct CMUnitTest *tests = calloc((size_t)n, sizeof *tests);
    size_t count = 0;
    for (int i = 0; i < n; i++)
        if (argc < 2 || strstr(found[i]->d_name, argv[1]))
            tests[count++] =
                (struct CMUnitTest){found[i]->d_name, play, NULL, NULL, found[i]->d_name};
    int failed = _cmocka_run_group_tests("scenarios", tests, count, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(found[i]);
    free(found);
    free(tests);
    return failed;
}
