/* Requests that a window makes: to services, and to other windows.
 *
 * A window reaches what the operator has granted it in windows/NAME.yaml, and nothing else. Keys
 * stay with the host, which sets them where the file says `inject`. Redirects are not followed. */
#ifndef HMS_FETCH_H
#define HMS_FETCH_H

#include "hms_window.h"

/* What is asked: (hms_call){.url = "https://rates.example/v1/latest", .timeout_ms = 3000}. Another
 * window has the URL "http://hms-svc-NAME/PATH". */
typedef struct {
    const char *url;
    /* GET if nothing is said. */
    const char *method;
    const hms_attribute *headers;
    size_t header_count;
    const void *body;
    size_t length;
    /* Until the answer begins. It can only shorten what the host allows; 0 says nothing. */
    uint64_t timeout_ms;
} hms_call;

typedef struct hms_answer hms_answer;

/* Sends it and waits for the head of the answer. A status such as 404 or 500 is an answer.
 * HMS_FAILED if there is none, with these codes: denied (the operator has not granted it), loop,
 * timeout, limit, refused, unavailable, tls, broken, invalid, other. Only of denied, loop, refused,
 * unavailable and tls it is sure that the request has not arrived. */
hms_outcome hms_fetch(const hms_call *call, hms_answer **answer);
/* The problem for it: 502, 503, 504 or 508, and 500 for denied and invalid. The window's log has
 * the error. */
void hms_fetch_problem(hms_response *response);

int hms_answer_status(const hms_answer *answer);
/* A header, the first if there are several; NULL if there is none. */
const char *hms_answer_header(const hms_answer *answer, const char *name);
/* The next part of the body, as hms_read() gives that of a request. */
hms_outcome hms_answer_read(hms_answer *answer, void *buffer, size_t size, size_t *length);
/* All of the body, and a zero byte; HMS_FAILED if it broke off or has more than `limit` bytes. */
hms_outcome hms_answer_body(hms_answer *answer, size_t limit, const char **body, size_t *length);

#endif
