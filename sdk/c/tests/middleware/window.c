/* A middleware that does what the query says, before and after the next handler. */
#include <hms_fetch.h>
#include <hms_middleware.h>
#include <string.h>

/* Bytes of the body, read here. */
static void count(const hms_request *request, hms_response *response) {
    char buffer[1000];
    size_t all = 0, length;
    hms_outcome outcome;
    while ((outcome = hms_read(request, buffer, sizeof buffer, &length)) == HMS_OK) all += length;
    if (outcome == HMS_FAILED) hms_bad_request(response, hms_error());
    else hms_text(response, 200, hms_format("%zu", all));
}

static void stream(hms_response *response, int64_t parts) {
    static const char part[65536];
    hms_respond(response, 200, "application/octet-stream", NULL, 0);
    while (parts-- > 0 && hms_write(response, part, sizeof part) == HMS_OK) continue;
}

/* Asks the service of the tests beside, before the request goes on. */
static void fetch(const hms_request *request, hms_response *response) {
    hms_call call = {.url = hms_config("service"), .method = "POST", .body = "abc", .length = 3};
    hms_answer *answer;
    if (hms_fetch(&call, &answer) != HMS_OK) hms_fetch_problem(response);
    else if (hms_next(request, response))
        hms_set_header(response, "x-fetched", hms_format("%d", hms_answer_status(answer)));
}

void hms_handle(const hms_request *request, hms_response *response) {
    const char *mode = hms_param(request, "do");
    if (mode == NULL) {
        hms_next(request, response);
    } else if (strcmp(mode, "count") == 0) {
        count(request, response);
    } else if (strcmp(mode, "count-next") == 0) {
        count(request, response);
        hms_next(request, response);
    } else if (strcmp(mode, "twice") == 0) {
        if (hms_next(request, response)) hms_next(request, response);
    } else if (strcmp(mode, "stream") == 0) {
        int64_t parts = 0;
        if (hms_param_number(request, response, "parts", &parts)) stream(response, parts);
    } else if (strcmp(mode, "status") == 0) {
        int64_t status = 200;
        if (hms_param_number(request, response, "status", &status))
            hms_respond(response, (int)status, NULL, NULL, 0);
    } else if (strcmp(mode, "break") == 0) {
        stream(response, 1);
        hms_break_off(response);
    } else if (strcmp(mode, "headers") == 0) {
        hms_forward_header(request, "x-added", "of the middleware");
        hms_forward_header(request, "x-changed", "anew");
        hms_forward_header(request, "x-taken", NULL);
        hms_forward_header(request, "x-hms-user", "mallory");
        hms_forward_header(request, "no header", "it cannot be sent");
        if (!hms_next(request, response)) return;
        hms_set_header(response, "x-was", hms_next_header(response, "X-Answer"));
        hms_set_header(response, "x-answer", "anew");
        hms_set_header(response, "x-secret", NULL);
        hms_set_header(response, "set-cookie", "c=3");
        hms_set_header(response, "set-cookie", "d=4");
    } else if (strcmp(mode, "fetch") == 0) {
        fetch(request, response);
    } else if (strcmp(mode, "instead") == 0) {
        if (hms_next(request, response)) hms_problem(response, 451, "withheld", "not for you");
    } else if (strcmp(mode, "after-reading-headers") == 0) {
        if (!hms_next(request, response)) return;
        hms_set_header(response, "x-path", hms_path(request));
        const char *agent = hms_header(request, "x-agent");
        hms_set_header(response, "x-agent", agent);
    } else {
        hms_problem(response, 400, "unknown", hms_body(request, NULL));
    }
}
