/* Runs the unit tests of the SDK; check.sh compiles them. */
#include <stdio.h>

#include "unit.h"

static int failures;

void unit_check(bool holds, const char *what, const char *file, int line) {
    if (holds) return;
    failures++;
    fprintf(stderr, "%s:%d: it does not hold: %s\n", file, line, what);
}

void unit_same(const char *text, const char *expected, const char *what, const char *file,
               int line) {
    if (text == expected || (text && expected && strcmp(text, expected) == 0)) return;
    failures++;
    fprintf(stderr, "%s:%d: %s is\n  %s\nand not\n  %s\n", file, line, what, text ? text : "NULL",
            expected ? expected : "NULL");
}

/* The window, which the SDK calls. */
void hms_handle(const hms_request *request, hms_response *response) {
    (void)request, (void)response;
}

int main(void) {
    paths();
    queries();
    headers();
    conditions();
    json();
    ids();
    pages();
    problems();
    bodies();
    events();
    sites();
    if (failures == 0) puts("unit tests of the C SDK: ok");
    return failures != 0;
}
