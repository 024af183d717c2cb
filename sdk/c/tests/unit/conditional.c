/* Entity tags and conditions. */
#include "unit.h"

static int asked(const char *method, const char *name, const char *value, const char *etag) {
    return hms_condition(unit_request(method, "/", name, value, NULL), etag);
}

void conditions(void) {
    SAME(hms_etag("7"), "\"7\"");
    SAME(hms_etag("a \"b\"\xC3\xBC"), "\"a%20%22b%22%C3%BC\"");
    SAME(hms_etag(""), "\"\"");
    const char *etag = "\"7\"";
    CHECK(hms_condition(unit_request("GET", "/", NULL), etag) == 0);
    CHECK(asked("GET", "if-none-match", "\"7\"", etag) == 304);
    CHECK(asked("GET", "if-none-match", "W/\"7\"", etag) == 304);
    CHECK(asked("GET", "if-none-match", "\"6\", \"7\"", etag) == 304);
    CHECK(asked("GET", "if-none-match", "\"6\"", etag) == 0);
    CHECK(asked("GET", "if-none-match", "*", etag) == 304);
    CHECK(asked("GET", "if-none-match", "*", NULL) == 0);
    CHECK(asked("HEAD", "if-none-match", "\"7\"", etag) == 304);
    CHECK(asked("PUT", "if-none-match", "*", etag) == 412);
    CHECK(asked("PUT", "if-none-match", "*", NULL) == 0);
    CHECK(asked("PUT", "if-match", "\"7\"", etag) == 0);
    CHECK(asked("PUT", "if-match", "W/\"7\"", etag) == 412);
    CHECK(asked("PUT", "if-match", "\"6\"", etag) == 412);
    CHECK(asked("PUT", "if-match", "*", etag) == 0);
    CHECK(asked("PUT", "if-match", "*", NULL) == 412);
    CHECK(asked("PUT", "if-match", " \"6\" ,, \"7\" ", etag) == 0);
    /* A tag may have a comma in it. */
    CHECK(asked("PUT", "if-match", "\"6,\", \"7\"", etag) == 0);
    CHECK(asked("PUT", "if-match", "\"a,b\"", "\"a,b\"") == 0);
    /* What is no list stops a change, and tells a reader nothing. */
    const char *const odd[] = {"7", "\"7", "7\"", "\"7\" \"8\"", "W/", "\"", "\"\x7F\"", "*x"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        CHECK(asked("PUT", "if-match", odd[i], etag) == 400);
        CHECK(asked("GET", "if-none-match", odd[i], etag) == 0);
    }
    CHECK(asked("PUT", "if-match", "", etag) == 412);
    hms_request *twice = unit_request("PUT", "/", "if-match", "\"6\"", "If-Match", "\"7\"", NULL);
    CHECK(hms_condition(twice, etag) == 0);
    hms_request *both = unit_request("GET", "/", "if-match", "\"6\"", "if-none-match", "\"7\"",
                                     NULL);
    CHECK(hms_condition(both, etag) == 412);
}
