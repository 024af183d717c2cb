/* JSON of requests, problems, ids, and pages of keys. */
#include <time.h>

#include "unit.h"

/* The status that a body gets where an object is wanted. */
static int posted(const char *body, size_t length) {
    hms_request *request = unit_posted(body, length);
    hms_response *response = unit_response(request);
    CHECK(hms_sdk_read_body(request, response));
    yyjson_val *value = hms_body_object(request, response);
    CHECK((value != NULL) == (response->status == 200));
    return response->status;
}

static int text_posted(const char *body) { return posted(body, strlen(body)); }

void json(void) {
    CHECK(text_posted("{\"a\":1}") == 200);
    CHECK(text_posted(" {\"a\":\"\\\\u0000 is a text\"} ") == 200);
    const char *const odd[] = {"",
                               " ",
                               "7",
                               "[]",
                               "null",
                               "{",
                               "{}x",
                               "{\"a\":1,}",
                               "{\"a\":NaN}",
                               "{\"a\":1e999}",
                               "{\"a\":\"\xFF\"}",
                               "{\"a\":\"\\ud800\"}",
                               "{\"a\":\"\\u0000\"}",
                               "{\"a\":\"\\\\\\u0000\"}",
                               "{\"\\u0000\":1}",
                               "\xEF\xBB\xBF{",
                               "{'a':1}",
                               "{\"a\":\"\n\"}"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        if (text_posted(odd[i]) != 400) SAME(odd[i], "refused");
    }
    CHECK(posted("{}\0", 3) == 400);
    CHECK(posted("{\"a\":\"\0\"}", 9) == 400);
    /* Deep: an array in an array, as far as a body goes. */
    char *deep = hms_sdk_room(NULL, HMS_BODY_LIMIT);
    memset(deep, '[', HMS_BODY_LIMIT);
    CHECK(posted(deep, HMS_BODY_LIMIT) == 400);
    memset(deep + HMS_BODY_LIMIT / 2, ']', HMS_BODY_LIMIT / 2);
    CHECK(posted(deep, HMS_BODY_LIMIT) == 400);
    yyjson_val *value;
    CHECK(hms_parsed("k", deep, HMS_BODY_LIMIT, &value) == HMS_OK);
    CHECK(yyjson_is_arr(value));
    CHECK(hms_parsed("k", "{", 1, &value) == HMS_FAILED);
    CHECK(hms_error_is("other") && !hms_error_is("oth") && strstr(hms_error(), "'k'") != NULL);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_doc_set_root(doc, yyjson_mut_str(doc, "\xFF"));
    hms_response *response = unit_response(unit_request("GET", "/", NULL));
    hms_json_doc(response, 200, doc);
    CHECK(response->status == 500 && hms_error_is("invalid"));
}

static const char *problem(const char *detail, const char *request_id) {
    const hms_request *request = unit_request("GET", "/", "x-request-id", request_id, NULL);
    hms_response *response = unit_response(request);
    hms_problem(response, 400, "bad", detail);
    yyjson_val *value;
    if (hms_parsed("problem", response->body, response->length, &value) != HMS_OK)
        return hms_error();
    SAME(yyjson_get_str(yyjson_obj_get(value, "request-id")), request_id);
    return yyjson_get_str(yyjson_obj_get(value, "detail"));
}

void problems(void) {
    const char *const details[] = {"", "a \"b\" \\ \n\t\x01\x7F", "\xC3\xBC", "%s"};
    for (size_t i = 0; i < sizeof details / sizeof *details; i++)
        SAME(problem(details[i], "id \"1\""), details[i]);
    SAME(problem("a \xFF b", "1"), "a ? b");
    hms_response *response = unit_response(unit_request("GET", "/", NULL));
    hms_bad_request(response, "x");
    CHECK(strstr(response->body, "request-id") == NULL);
    hms_method_not_allowed(response, "GET, HEAD");
    CHECK(response->status == 405);
    SAME(unit_header(response, "allow"), "GET, HEAD");
    hms_log("a \xFF %s", "\xC3\xBC\xC3");
    SAME(unit_logged, "a ? \xC3\xBC?");
}

void ids(void) {
    uint64_t before = hms_now_ms();
    const char *id = hms_new_id();
    CHECK(strlen(id) == 36 && id[14] == '7' && strchr("89ab", id[19]) != NULL);
    uint64_t ms = strtoull(id, NULL, 16) << 16 | strtoull(id + 9, NULL, 16);
    CHECK(ms >= before && ms <= hms_now_ms());
    for (int i = 0; i < 1000; i++) {
        const char *next = hms_new_id();
        CHECK(strcmp(id, next) != 0 && strncmp(id, next, 13) <= 0);
        id = next;
    }
    uint64_t begun = hms_now_ms();
    hms_sleep_ms(3);
    CHECK(hms_now_ms() >= begun + 2);
}

void pages(void) {
    const char *const keys[] = {"a", "b", "b.1", "c\xC3\xBC", "d", "e", "f"};
    unit_keys(keys, 7);
    for (size_t limit = 0; limit < 9; limit++) {
        const char *cursor = NULL;
        size_t seen = 0, rounds = 0;
        do {
            hms_page page;
            CHECK(hms_list("part", cursor, limit, &page) == HMS_OK);
            CHECK(page.count <= (limit == 0 ? 1 : limit));
            for (size_t i = 0; i < page.count && seen < 7; i++) SAME(page.keys[i], keys[seen++]);
            cursor = page.next;
        } while (cursor != NULL && rounds++ < 9);
        CHECK(seen == 7 && cursor == NULL);
    }
    hms_page page;
    const char *const odd[] = {"", "1", "x", "9.a", "-1.a", "1a", "99999.a", "1.\xFF", "1.a\xFF",
                               "00001.a"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        if (hms_list("part", odd[i], 3, &page) == HMS_OK) SAME(odd[i], "refused");
        CHECK(hms_error_is("invalid-cursor"));
        hms_response *response = unit_response(unit_request("GET", "/", NULL));
        hms_store_problem(response);
        CHECK(response->status == 400);
    }
    unit_keys(keys, 0);
    CHECK(hms_list("part", NULL, 3, &page) == HMS_OK && page.count == 0 && page.next == NULL);
    CHECK(hms_list("\xFF", NULL, 3, &page) == HMS_FAILED && hms_error_is("invalid"));
}
