/* Events that are delivered. */
#include "unit.h"

#define MARK "counts; attempt=2; round=1"

static hms_received got;

/* The status that a delivery of one JSON object gets. */
static int structured(const char *mark, const char *body) {
    hms_request *request = unit_request("POST", "/events", "x-hms-delivery", mark, "content-type",
                                        "application/CloudEvents+json; charset=utf-8", NULL);
    request->body = hms_sdk_copied(body, strlen(body));
    request->length = strlen(body);
    hms_response *response = unit_response(request);
    bool is_event = hms_receive(request, response, &got);
    CHECK(is_event == (response->status == 200));
    return response->status;
}

static int binary(const char *type, const char *subject, const char *version) {
    hms_request *request = unit_request("POST", "/events", "x-hms-delivery", MARK, "ce-id", "7",
                                        "ce-source", "urn:a", "ce-type", type, "ce-subject",
                                        subject, "ce-specversion", version, NULL);
    hms_response *response = unit_response(request);
    hms_receive(request, response, &got);
    return response->status;
}

#define HEAD "{\"id\":\"7\",\"source\":\"urn:a\",\"type\":\"t\",\"specversion\":\"1.0\""

void events(void) {
    CHECK(binary("t", "a%20b", "1.0") == 200);
    SAME(got.subject, "a b");
    SAME(got.subscription, "counts");
    CHECK(got.attempt == 2 && got.replay_round == 1);
    SAME(got.once_key, "event/counts/1/urn:a/7");
    CHECK(binary("", "s", "1.0") == 400);
    CHECK(binary("t", "s", "2.0") == 400);
    CHECK(structured(MARK, HEAD ",\"data\":{\"a\":1},\"sequence\":\"12\"}") == 200);
    SAME(got.data, "{\"a\":1}");
    SAME(got.content_type, "application/json");
    CHECK(got.sequence == 12);
    CHECK(structured(MARK, HEAD ",\"data_base64\":\"AP8gYQ==\"}") == 200);
    CHECK(got.length == 4 && memcmp(got.data, "\0\xFF a", 4) == 0);
    CHECK(structured(MARK, HEAD ",\"datacontenttype\":\"text/plain\",\"data\":\"x\"}") == 200);
    SAME(got.data, "x");
    const char *const odd[] = {"",
                               "[]",
                               "{}",
                               HEAD ",\"a\":[]}",
                               HEAD ",\"data_base64\":\"A\"}",
                               HEAD ",\"data_base64\":\"A===\"}",
                               HEAD ",\"data_base64\":\"A*==\"}",
                               HEAD};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        if (structured(MARK, odd[i]) != 400) SAME(odd[i], "refused");
    }
    const char *const marks[] = {"", ";", "a; attempt=", "a; attempt=x", "a; round",
                                 "a; attempt=99999999999999999999"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (structured(marks[i], HEAD "}") != 400) SAME(marks[i], "refused");
    }
    hms_request *request = unit_request("POST", "/events", NULL);
    hms_response *response = unit_response(request);
    CHECK(!hms_receive(request, response, &got) && response->status == 403);
}
