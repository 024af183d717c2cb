/* Write a service window in C: define hms_handle(), and `make` the component.
 *
 * Memory that these functions give belongs to the request in hand, and ends with its instance: free
 * nothing. */
#ifndef HMS_WINDOW_H
#define HMS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a body that is read before hms_handle() is called; more is 413. */
#define HMS_BODY_LIMIT (1u << 20)

/* A request, as the gateway has checked it. Texts end with a zero byte. */
typedef struct hms_request hms_request;

/* GET for a HEAD request as well: the host sends its answer without the body. */
const char *hms_method(const hms_request *request);
/* The raw path, without the query: "/payments/42". */
const char *hms_path(const hms_request *request);
/* The raw query, without the question mark; "" if there is none. */
const char *hms_query(const hms_request *request);
/* The first value of a header, or NULL. No client can forge those that begin with "x-hms-". */
const char *hms_header(const hms_request *request, const char *name);
/* The body, and its length in bytes. A zero byte follows it. */
const char *hms_body(const hms_request *request, size_t *length);
/* The user that the gateway has verified, or NULL. */
const char *hms_user(const hms_request *request);

/* The answer: 200 without a body, until one of these is called. */
typedef struct hms_response hms_response;

void hms_respond(hms_response *response, int status, const char *content_type, const void *body,
                 size_t length);
/* The same of a text, with its content type. */
void hms_text(hms_response *response, int status, const char *text);
void hms_json(hms_response *response, int status, const char *json);
/* Adds a header: up to 32 of them. */
void hms_set_header(hms_response *response, const char *name, const char *value);
/* A refusal, as application/problem+json. `detail` is a sentence for people. */
void hms_problem(hms_response *response, int status, const char *code, const char *detail);
void hms_not_found(hms_response *response);
/* 405: hms_method_not_allowed(response, "GET, HEAD") */
void hms_method_not_allowed(hms_response *response, const char *allow);
/* 401: the request has no caller. */
void hms_unauthorized(hms_response *response);

/* What came of a call of the store. */
typedef enum {
    HMS_OK,
    /* There is no such key. */
    HMS_NONE,
    /* hms_error() has a code, a colon and a sentence: "store-full: ..." */
    HMS_FAILED,
} hms_outcome;

/* The window's store. `part` is any name up to 512 bytes; a key has 1 byte to 1 KiB, a value up to
 * 4 MiB. A write is on disk when it returns. */
hms_outcome hms_get(const char *part, const char *key, const char **value, size_t *length);
hms_outcome hms_set(const char *part, const char *key, const void *value, size_t length);
hms_outcome hms_delete(const char *part, const char *key);
/* Adds to the number at `key`, 0 if missing. Calls of several instances at once all count. */
hms_outcome hms_increment(const char *part, const char *key, int64_t by, int64_t *sum);
/* Why the last call of the store failed. */
const char *hms_error(void);
/* The problem for it: 507, 503 or 500. */
void hms_store_problem(hms_response *response);

/* A value of `config` in windows/NAME.yaml, or NULL. */
const char *hms_config(const char *name);

/* A line of the window's log, as printf. */
void hms_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The window: called once for each request. */
void hms_handle(const hms_request *request, hms_response *response);

#endif
