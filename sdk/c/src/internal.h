/* What the files of the SDK share. Windows include hms_window.h instead. */
#ifndef HMS_INTERNAL_H
#define HMS_INTERNAL_H

#include <stdlib.h>
#include <string.h>

#include "hms_window.h"
#include "window.h"

#define MAX_HEADERS 32
/* Bytes that are read at once. */
#define CHUNK 65536

struct hms_request {
    const char *method;
    bool is_head;
    const char *path;
    const char *query;
    wasi_http_types_own_headers_t headers;
    char *body;
    size_t length;
    /* Of a body that hms_read() reads. */
    wasi_io_streams_own_input_stream_t stream;
    bool ended;
};

struct hms_response {
    int status;
    const char *content_type;
    const char *names[MAX_HEADERS];
    const char *values[MAX_HEADERS];
    size_t headers;
    const void *body;
    size_t length;
    const char *request_id;
    wasi_http_types_own_response_outparam_t out;
    /* Of an answer that hms_write() has begun. */
    bool begun;
    bool broken;
    wasi_http_types_own_outgoing_body_t outgoing;
    wasi_io_streams_own_output_stream_t stream;
};

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
/* HMS_FAILED if a key or the name of a part is no UTF-8. */
hms_outcome hms_sdk_named(const char *part, const char *key);
/* `text` with each %XX as its byte, and `+` as a space where `plus` is said. As it was, if that is
 * no text of UTF-8 without a zero byte. */
char *hms_sdk_decoded(const char *text, size_t length, bool plus);

/* Reads as hms_read() does, from any stream. `ended` is its own. */
hms_outcome hms_sdk_read(wasi_io_streams_own_input_stream_t stream, bool *ended, void *buffer,
                         size_t size, size_t *length);
/* The first value of a header, or NULL. */
const char *hms_sdk_header(wasi_http_types_own_fields_t fields, const char *name);
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
