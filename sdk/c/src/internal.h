/* What the files of the SDK share. Windows include hms_window.h instead. */
#ifndef HMS_INTERNAL_H
#define HMS_INTERNAL_H

#include <stdlib.h>
#include <string.h>

#include "hms_window.h"
#include "window.h"

#define MAX_HEADERS 32
/* Bytes that are read at once. The allocator has a few bytes of its own with each piece, and takes
 * powers of two: a little more than one would take twice as much. */
#define SPARE 64
#define CHUNK (65536 - SPARE)

/* A header, as the client has sent it. */
typedef struct {
    const char *name;
    size_t name_length;
    const char *value;
    size_t length;
} hms_sdk_field;

/* Handles are numbers here: serve.c knows them as those of WASI 0.2, middleware.c of 0.3. */
struct hms_request {
    const char *method;
    bool is_head;
    const char *path;
    const char *query;
    int32_t handle;
    /* Of hms_sdk_fields(). */
    hms_sdk_field *fields;
    size_t field_count;
    bool has_fields;
    char *body;
    size_t length;
    /* Of a body that hms_read() reads. */
    int32_t stream;
    bool opened;
    bool ended;
    /* Of a middleware. */
    struct hms_sdk_chain *chain;
};

struct hms_response {
    int status;
    const char *content_type;
    const char *names[MAX_HEADERS];
    const char *values[MAX_HEADERS];
    size_t headers;
    const void *body;
    size_t length;
    const hms_request *request;
    int32_t handle;
    /* It is that of the next handler, until another is said. */
    bool passed;
    /* Of an answer that hms_write() has begun. */
    bool begun;
    bool broken;
    int32_t body_handle;
    int32_t stream;
};

/* The methods, by their numbers in WASI. */
extern const char *const hms_sdk_methods[9];
/* Sets method and target. */
void hms_sdk_begin(hms_request *request, const char *method, char *target);
/* The room after `room` for what comes in chunks. */
static inline size_t hms_sdk_more(size_t room) { return room == 0 ? CHUNK : 2 * room + SPARE; }
/* All of the body, or false if it is over the limit or broke off: then there is an answer. */
bool hms_sdk_read_body(hms_request *request, hms_response *response);
/* The headers of an answer, and one without a name behind them. `whole`: the body is all there. */
const hms_attribute *hms_sdk_headers(const hms_response *response, bool whole);
/* The status of an answer: 500 for one that is none. */
uint16_t hms_sdk_status(const hms_response *response);
/* As `malloc` and `realloc`, but memory that is not there ends the instance. */
void *hms_sdk_room(void *old, size_t size);
/* A copy that ends with a zero byte. */
char *hms_sdk_copied(const void *bytes, size_t length);
/* Makes a text of what the host has given, in its own place. */
char *hms_sdk_terminated(uint8_t *bytes, size_t length);
/* Sets hms_error(): "CODE: SENTENCE". */
hms_outcome hms_sdk_failed(const char *code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The host has said code and sentence. */
hms_outcome hms_sdk_told(const window_string_t *text);
/* The same of what the store has refused. */
hms_outcome hms_sdk_store_failed(const wasi_keyvalue_store_error_t *error);
/* Whether the host takes it for a text: any other ends the instance. */
bool hms_sdk_is_utf8(const char *bytes, size_t length);
/* Puts a question mark in place of each byte that makes it no text. */
void hms_sdk_make_utf8(char *text, size_t length);
/* The value of a header as a text: what is not UTF-8 is Latin-1. */
char *hms_sdk_text(const void *bytes, size_t length);
/* HMS_FAILED if a key or the name of a part is no UTF-8. */
hms_outcome hms_sdk_named(const char *part, const char *key);
/* `text` with each %XX as its byte, and `+` as a space where `plus` is said. As it was, if that is
 * no text of UTF-8 without a zero byte. */
char *hms_sdk_decoded(const char *text, size_t length, bool plus);

/* The headers of a request, in their order: read from the host once, when they are asked for. */
const hms_sdk_field *hms_sdk_fields(const hms_request *request, size_t *count);
/* A value of a header: the first from the `at`th field on, which is moved behind it. NULL: no more.
 */
const char *hms_sdk_value(const hms_request *request, const char *name, size_t *at);
/* Reads them from the host. */
void hms_sdk_load_fields(hms_request *request);
/* Reads as hms_read() does, from any stream. `ended` is its own. */
hms_outcome hms_sdk_read(wasi_io_streams_own_input_stream_t stream, bool *ended, void *buffer,
                         size_t size, size_t *length);
/* Adds a header to those that are sent; false if the host refuses it. */
bool hms_sdk_append(wasi_http_types_own_fields_t fields, const char *name, const char *value);
/* Writes all of it, and waits until it is taken. */
bool hms_sdk_write(wasi_io_streams_own_output_stream_t stream, const void *bytes, size_t length);

static inline window_string_t text_of(const char *text) {
    return (window_string_t){(uint8_t *)text, strlen(text)};
}

static inline window_option_string_t option_of(const char *text) {
    if (text == NULL) return (window_option_string_t){.is_some = false};
    return (window_option_string_t){.is_some = true, .val = text_of(text)};
}

#endif
