/* Paths, queries, headers and bodies. */
#include "unit.h"

static const char *segment(const char *path, size_t index) {
    return hms_segment(unit_request("GET", path, NULL), index);
}

static bool at(const char *path, const char *pattern) {
    return hms_at(unit_request("GET", path, NULL), pattern);
}

void paths(void) {
    SAME(segment("/payments/42", 0), "payments");
    SAME(segment("/payments/42", 1), "42");
    SAME(segment("/payments/42", 2), NULL);
    SAME(segment("/", 0), "");
    SAME(segment("/", 1), NULL);
    SAME(segment("/a/", 1), "");
    SAME(segment("/a//b", 2), "b");
    SAME(segment("/a%20b/%C3%BC", 0), "a b");
    SAME(segment("/a%20b/%C3%BC", 1), "\xC3\xBC");
    SAME(segment("/a%2Fb", 0), "a/b");
    SAME(segment("/a+b", 0), "a+b");
    /* What is no text stays as it came. */
    const char *const odd[] = {"%00", "a%00b", "%FF",          "%C3",    "%C3%28", "%ED%A0%80",
                               "%",   "%4",    "%F5%80%80%80", "%zz%20", "%E2%82"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        SAME(segment(hms_format("/%s", odd[i]), 0), i == 9 ? "%zz " : odd[i]);
    CHECK(at("/", "/"));
    CHECK(at("/payments/42", "/payments/*"));
    CHECK(at("/%70ayments", "/payments"));
    CHECK(at("/payments?x=/a", "/payments"));
    CHECK(!at("/payments/", "/payments"));
    CHECK(at("/payments/", "/payments/"));
    CHECK(!at("/payments", "/payments/*"));
    CHECK(!at("/payments/42/items", "/payments/*"));
    CHECK(!at("/payments%2F42", "/payments/*"));
    CHECK(!at("/payment", "/payments"));
    CHECK(!at("/paymentss", "/payments"));
    /* Only a segment that is `*` is any. */
    CHECK(!at("/payments", "/pay*"));
    SAME(hms_path(unit_request("GET", "/a%20b?c", NULL)), "/a%20b");
    SAME(hms_method(unit_request("HEAD", "/", NULL)), "GET");
    CHECK(hms_is_head(unit_request("HEAD", "/", NULL)));
    const char *prefix = "/api/v1";
    SAME(hms_public_path(unit_request("GET", "/", "x-forwarded-prefix", prefix, NULL), "/a"),
         "/api/v1/a");
    SAME(hms_public_path(unit_request("GET", "/", NULL), "/a"), "/a");
}

static const char *param(const char *query, const char *name) {
    return hms_param(unit_request("GET", hms_format("/?%s", query), NULL), name);
}

static bool number(const char *query, int64_t *number) {
    hms_request *request = unit_request("GET", hms_format("/?%s", query), NULL);
    hms_response *response = unit_response(request);
    bool is_number = hms_param_number(request, response, "n", number);
    CHECK(response->status == (is_number ? 200 : 400));
    return is_number;
}

void queries(void) {
    SAME(hms_query(unit_request("GET", "/a", NULL)), "");
    SAME(hms_query(unit_request("GET", "/a?b?c", NULL)), "b?c");
    SAME(param("a=1&b=2&a=3", "a"), "1");
    SAME(param("a=1&b=2", "b"), "2");
    SAME(param("a=1", "A"), NULL);
    SAME(param("", "a"), NULL);
    SAME(param("&&a=1&", "a"), "1");
    SAME(param("a", "a"), "");
    SAME(param("a=", "a"), "");
    SAME(param("=1", ""), "1");
    SAME(param("a=b=c", "a"), "b=c");
    SAME(param("ab=1&a=2", "a"), "2");
    SAME(param("a=b+c%2B%20", "a"), "b c+ ");
    SAME(param("%61=1", "a"), "1");
    SAME(param("a=%FF", "a"), "%FF");
    SAME(param("a=%00", "a"), "%00");
    SAME(param("a=%", "a"), "%");
    int64_t got = 7;
    CHECK(number("", &got) && got == 7);
    CHECK(number("n=-9223372036854775808", &got) && got == INT64_MIN);
    CHECK(number("n=9223372036854775807", &got) && got == INT64_MAX);
    const char *const odd[] = {"n",   "n=",     "n=1x", "n=0x10", "n=9223372036854775808",
                               "n=-", "n=+ 1", "n=1.5", "n=%00",  "n=%201",
                               "n=1%20"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        if (number(odd[i], &got)) SAME(odd[i], "refused");
    }
    /* A long query is read in one pass over it. */
    char *query = hms_sdk_room(NULL, 60003);
    for (size_t i = 0; i < 60000; i += 2) memcpy(query + i, "b&", 2);
    memcpy(query + 60000, "a", 2);
    SAME(param(query, "a"), "");
}

void headers(void) {
    hms_request *request = unit_request("GET", "/", "x-one", "1", "X-Two", "2", "x-one", "3",
                                        "x-latin", "caf\xE9", "x-hms-user", "", NULL);
    SAME(hms_header(request, "X-ONE"), "1");
    SAME(hms_header(request, "x-two"), "2");
    SAME(hms_header(request, "x-tw"), NULL);
    SAME(hms_header(request, "x-latin"), "caf\xC3\xA9");
    SAME(hms_user(request), NULL);
    SAME(hms_user_part(request, "fines"), NULL);
    request = unit_request("GET", "/", "x-hms-user", "alice", NULL);
    SAME(hms_user_part(request, "fines"), "fines/alice");
    hms_response *response = unit_response(request);
    for (int i = 0; i < 40; i++) hms_set_header(response, hms_format("x-%d", i), "1");
    SAME(unit_header(response, "x-31"), "1");
    SAME(unit_header(response, "x-32"), NULL);
    CHECK(strstr(unit_logged, "x-39") != NULL);
    SAME(unit_header(response, "content-length"), "0");
    response->status = 204;
    SAME(unit_header(response, "content-length"), NULL);
    const int statuses[] = {-1, 0, 99, 100, 199, 600, 65736};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        response->status = statuses[i];
        CHECK(hms_sdk_status(response) == 500);
    }
}

void bodies(void) {
    char *large = hms_sdk_room(NULL, HMS_BODY_LIMIT + 1);
    memset(large, 'a', HMS_BODY_LIMIT + 1);
    const size_t sizes[] = {0, 1, CHUNK - 1, CHUNK, CHUNK + 1, HMS_BODY_LIMIT};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        hms_request *request = unit_posted(large, sizes[i]);
        CHECK(hms_sdk_read_body(request, unit_response(request)));
        size_t length;
        CHECK(strlen(hms_body(request, &length)) == sizes[i] && length == sizes[i]);
    }
    /* What a client says of the length is not what comes. */
    const char *const said[] = {"0", "1", "100000", "1048576", "99999999999999999999", "x", "-1"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        hms_request *request = unit_posted(large, 200000);
        hms_sdk_field field = {"content-length", 14, said[i], strlen(said[i])};
        request->fields = &field;
        request->field_count = 1;
        CHECK(hms_sdk_read_body(request, unit_response(request)));
        CHECK(request->length == 200000);
    }
    hms_request *request = unit_posted(large, HMS_BODY_LIMIT + 1);
    hms_response *response = unit_response(request);
    CHECK(!hms_sdk_read_body(request, response) && response->status == 413);
}
