/* Write a service window in C: define hms_handle(), and `make` the component.
 *
 * Memory that these functions give belongs to the request in hand, and ends with its instance: free
 * nothing. Texts are UTF-8 and end with a zero byte. JSON is in hms_json.h, calls of services are
 * in hms_fetch.h, static sites in hms_site.h. */
#ifndef HMS_WINDOW_H
#define HMS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a body that is read before hms_handle() is called; more is 413. */
#define HMS_BODY_LIMIT (1u << 20)
/* The limit of a window that reads the body itself, by hms_read(). */
#define HMS_STREAM 0
/* HMS_BODY_LIMIT, unless the window defines it: `const size_t hms_body_limit = 60 * 1024;` */
extern const size_t hms_body_limit;

/* A request, as the gateway has checked it. */
typedef struct hms_request hms_request;

/* GET for a HEAD request as well: the host sends its answer without the body. */
const char *hms_method(const hms_request *request);
bool hms_is_head(const hms_request *request);
/* The raw path, without the query: "/payments/42". */
const char *hms_path(const hms_request *request);
/* Whether the path has this form: a segment of it that is `*` is any one. A trailing slash counts.
 */
bool hms_at(const hms_request *request, const char *pattern);
/* A segment of the path, percent-decoded: 1 of "/payments/42" is "42". NULL after the last. One
 * that is no text when it is decoded stays as it was sent. */
const char *hms_segment(const hms_request *request, size_t index);
/* `path` as the client must write it, with the prefix that the gateway has stripped: for Location.
 */
const char *hms_public_path(const hms_request *request, const char *path);
/* The raw query, without the question mark; "" if there is none. */
const char *hms_query(const hms_request *request);
/* A parameter of the query, decoded; NULL if there is none. */
const char *hms_param(const hms_request *request, const char *name);
/* A header, the first if there are several; NULL if there is none. What is not UTF-8 is read as
 * Latin-1. No client can forge those that begin with "x-hms-". */
const char *hms_header(const hms_request *request, const char *name);
/* The body, and its length in bytes. A zero byte follows it. */
const char *hms_body(const hms_request *request, size_t *length);
/* The user that the gateway has verified, or NULL. */
const char *hms_user(const hms_request *request);
/* The caller's own part of the store: another user has another. `part` has no slash. NULL if there
 * is no caller. */
const char *hms_user_part(const hms_request *request, const char *part);

/* The answer: 200 without a body, until one of these is called. */
typedef struct hms_response hms_response;

/* `body` is not copied: it stays until hms_handle() returns. `content_type` can be NULL. */
void hms_respond(hms_response *response, int status, const char *content_type, const void *body,
                 size_t length);
/* The same of a text, with its content type. */
void hms_text(hms_response *response, int status, const char *text);
void hms_json(hms_response *response, int status, const char *json);
/* Adds a header: up to 32 of them. */
void hms_set_header(hms_response *response, const char *name, const char *value);
/* A refusal, as application/problem+json. `detail` is a sentence for people. */
void hms_problem(hms_response *response, int status, const char *code, const char *detail);
void hms_bad_request(hms_response *response, const char *detail);
void hms_not_found(hms_response *response);
/* 405: hms_method_not_allowed(response, "GET, HEAD") */
void hms_method_not_allowed(hms_response *response, const char *allow);
/* 401: the request has no caller. */
void hms_unauthorized(hms_response *response);
/* 500. The cause is in the window's log, not in the answer. */
void hms_internal(hms_response *response, const char *cause);
/* Sets `number` to a parameter, if there is one. False if it is not a number: the answer is a
 * 400. */
bool hms_param_number(const hms_request *request, hms_response *response, const char *name,
                      int64_t *number);

/* What came of a call. */
typedef enum {
    HMS_OK,
    /* There is no such thing, or nothing was done: see the function. */
    HMS_NONE,
    /* hms_error() has a code, a colon and a sentence: "store-full: ..." */
    HMS_FAILED,
} hms_outcome;

/* Why the last call failed. */
const char *hms_error(void);
/* Whether it has this code. */
bool hms_error_is(const char *code);

/* Fills `buffer` with what comes next of the body, in a window with HMS_STREAM. It has less only at
 * the end; HMS_NONE after it. */
hms_outcome hms_read(const hms_request *request, void *buffer, size_t size, size_t *length);
/* Sends a part of the body, and waits until the client has taken it. Say status, content type and
 * headers before: hms_respond(response, 200, type, NULL, 0). */
hms_outcome hms_write(hms_response *response, const void *bytes, size_t length);
/* The client sees that the body is not whole. */
void hms_break_off(hms_response *response);

/* The conditions of a request (If-Match, If-None-Match) against the entity tag of what is there
 * now, as hms_etag() makes it; NULL for nothing. 0: go on. 304: the client has it; answer so, with
 * the tag. 412 or 400: a condition fails; hms_condition_problem() answers. */
int hms_condition(const hms_request *request, const char *etag);
void hms_condition_problem(hms_response *response, int status);
/* An entity tag of any text. */
const char *hms_etag(const char *version);

/* The window's store. `part` is any name up to 512 bytes; a key has 1 byte to 1 KiB, a value up to
 * 4 MiB, a batch up to 16 MiB and 1,024 keys. A write is on disk when it returns. HMS_NONE: there
 * is no such key. A window that reads many large values in one request can free() each. */
hms_outcome hms_get(const char *part, const char *key, const char **value, size_t *length);
hms_outcome hms_exists(const char *part, const char *key);
hms_outcome hms_set(const char *part, const char *key, const void *value, size_t length);
hms_outcome hms_delete(const char *part, const char *key);
/* Adds to the number at `key`, 0 if missing. Calls of several instances at once all count. */
hms_outcome hms_increment(const char *part, const char *key, int64_t by, int64_t *sum);

/* A value and its key. `value` is NULL where there is none. */
typedef struct {
    const char *key;
    const void *value;
    size_t length;
} hms_entry;

/* Fills `entries`, in the order of `keys`, from one call. */
hms_outcome hms_get_many(const char *part, const char *const *keys, size_t count,
                         hms_entry *entries);
/* All or none. */
hms_outcome hms_set_many(const char *part, const hms_entry *entries, size_t count);
hms_outcome hms_delete_many(const char *part, const char *const *keys, size_t count);

/* A few keys, in the order of their bytes. `next` is the cursor of those after them, NULL if there
 * are none; a client can have it. */
typedef struct {
    const char **keys;
    size_t count;
    const char *next;
} hms_page;

/* Up to `limit` keys from the start (NULL), or from the `next` of the page before. */
hms_outcome hms_list(const char *part, const char *cursor, size_t limit, hms_page *page);

/* Replaces the value at `key`: `change` puts the new one into the entry. It is called again with
 * the newer value if another instance was faster. Where it returns false, nothing is written:
 * HMS_NONE. */
hms_outcome hms_update(const char *part, const char *key,
                       bool (*change)(hms_entry *entry, void *data), void *data);
/* Sets `key` if its value is `old` (NULL: there is none). HMS_NONE: it has another. */
hms_outcome hms_compare_and_set(const char *part, const char *key, const hms_entry *old,
                                const void *value, size_t length);

/* The problem for a call of the store that failed: 507, 503, 500, or 400 of a cursor. */
void hms_store_problem(hms_response *response);

/* An attribute of an event: its name has 1 to 20 of a-z and 0-9. */
typedef struct {
    const char *name;
    const char *value;
} hms_attribute;

/* Something that has happened, for whoever subscribes to it: a CloudEvent. Only `type` must be
 * there. End it with a version: (hms_event){.type = "gov.payment.paid.v1", .subject = id, .data =
 * json, .length = length} */
typedef struct {
    const char *type;
    /* What it is about. Events of the same subject are delivered in order. */
    const char *subject;
    /* What its order is by, in place of the subject. */
    const char *partition_key;
    /* "application/json" if nothing is said. */
    const char *content_type;
    /* Up to 64 KiB. */
    const void *data;
    size_t length;
    /* More attributes, which filters can use. */
    const hms_attribute *attributes;
    size_t attribute_count;
    /* Not before this time, in milliseconds since 1970; 0 is at once. */
    uint64_t not_before_ms;
    /* By which it is replaced while it waits: see hms_tx_timer(). */
    const char *name;
} hms_event;

/* One try of a transaction. */
typedef struct hms_tx hms_tx;

/* What was committed. */
typedef struct {
    /* It was committed before under the same hms_tx_once(): nothing was done now. */
    bool repeated;
    /* The new value of each counter that was incremented, in order. */
    const int64_t *counters;
    size_t counter_count;
    /* The id of each event, in order, timers included. */
    const char *const *event_ids;
    size_t event_count;
} hms_committed;

/* Runs `run`, and commits all that it has written and emitted, or nothing. What it reads is
 * checked: if another instance has changed any of it meanwhile, it runs again with the newer
 * values, up to 64 times. So it must have no effects but those on `data`, which it sets anew each
 * time. Where it returns false, nothing is written: HMS_NONE. What the store refuses is HMS_FAILED,
 * with these codes more: outbox-full, event-refused, unknown (it may be there), contended.
 * `committed` can be NULL.
 *
 * At most 256 keys are read, 256 events emitted, 1,024 changes made and 16 MiB written. */
hms_outcome hms_transaction(bool (*run)(hms_tx *tx, void *data), void *data,
                            hms_committed *committed);

/* The value at a key, as this transaction leaves it so far. */
hms_outcome hms_tx_get(hms_tx *tx, const char *part, const char *key, const char **value,
                       size_t *length);
/* Where the host or a limit refuses one of these, hms_transaction() fails. */
void hms_tx_set(hms_tx *tx, const char *part, const char *key, const void *value, size_t length);
void hms_tx_delete(hms_tx *tx, const char *part, const char *key);
void hms_tx_increment(hms_tx *tx, const char *part, const char *key, int64_t by);
void hms_tx_emit(hms_tx *tx, const hms_event *event);
/* Commits this once for `key`, such as the `once_key` of an event, which can come twice. The host
 * remembers a key for 30 days at least. */
void hms_tx_once(hms_tx *tx, const char *key);
/* A timer: an event that comes after a time. One of the same type and subject that still waits is
 * replaced. The type has no slash. */
void hms_tx_timer(hms_tx *tx, const hms_event *event, uint64_t delay_ms);
/* Cancels the timer of that type and subject, if it waits. */
void hms_tx_cancel(hms_tx *tx, const char *type, const char *subject);

/* An event that the host has delivered. Texts that it does not have are NULL. */
typedef struct {
    const char *id;
    /* Who has emitted it: "urn:hms:window:NAME". The host vouches for it. */
    const char *source;
    const char *type;
    const char *subject;
    /* When it was emitted (RFC 3339); of a timer, when it was due. */
    const char *time;
    /* Its place among the events of its source: 1, 2, 3. 0 if it has none. */
    uint64_t sequence;
    /* The subscription by which it came, how often it was tried, this time included, and the number
     * of the replay, or 0. */
    const char *subscription;
    uint64_t attempt;
    uint64_t replay_round;
    /* The data, which a zero byte follows, and their media type. */
    const char *content_type;
    const char *data;
    size_t length;
    /* For hms_tx_once(). */
    const char *once_key;
    /* All attributes, those above included. */
    const hms_attribute *attributes;
    size_t attribute_count;
} hms_received;

/* The event of this delivery. False if this is not one: the answer is a 403 or a 400. Answer with
 * 2xx when it is done. The host tries again after 408, 409, 425, 429, 5xx and no answer; any other
 * 4xx parks the event, for a person to look at. */
bool hms_receive(const hms_request *request, hms_response *response, hms_received *event);
/* 422: it will never be accepted as it is. */
void hms_reject(hms_response *response, const char *detail);

/* A value of `config` in windows/NAME.yaml, or NULL. */
const char *hms_config(const char *name);
/* The time, in milliseconds since 1970. */
uint64_t hms_now_ms(void);
/* Waits. This time counts as the instance's wall time. */
void hms_sleep_ms(uint64_t ms);
/* A new UUID, version 7 (RFC 9562): its text sorts by the millisecond of its creation. */
const char *hms_new_id(void);
/* A text by the format of printf. */
const char *hms_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line of the window's log, as printf. */
void hms_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A part of the window's work begins, below the last that has begun and not ended. `hms requests`
 * shows it with its time, and it is exported: the name says what is done and not for whom, in 256
 * bytes. Returns its number for hms_span_end(). Such a window runs on no other host. */
uint32_t hms_span_begin(const char *name);
void hms_span_end(uint32_t part, bool failed);

/* The window: called once for each request. */
void hms_handle(const hms_request *request, hms_response *response);

#endif
