/* The host, as far as the unit tests need one. */
#include <stdarg.h>
#include <stdio.h>

#include "unit.h"

char unit_logged[4096];

void wasi_logging_logging_log(wasi_logging_logging_level_t level, window_string_t *context,
                              window_string_t *message) {
    (void)level, (void)context;
    snprintf(unit_logged, sizeof unit_logged, "%.*s", (int)message->len, (char *)message->ptr);
}

/* The headers of a request are given to it by unit_request(). */
void hms_sdk_load_fields(hms_request *request) { (void)request; }

static const char *sent;
static size_t sent_length;

hms_outcome hms_read(const hms_request *request, void *buffer, size_t size, size_t *length) {
    (void)request;
    *length = sent_length < size ? sent_length : size;
    if (*length > 0) memcpy(buffer, sent, *length);
    sent += *length;
    sent_length -= *length;
    return *length == 0 ? HMS_NONE : HMS_OK;
}

hms_request *unit_request(const char *method, const char *target, ...) {
    hms_request *request = calloc(1, sizeof *request);
    hms_sdk_begin(request, method, hms_sdk_copied(target, strlen(target)));
    request->body = hms_sdk_copied("", 0);
    va_list rest;
    va_start(rest, target);
    for (const char *name; (name = va_arg(rest, const char *)) != NULL;) {
        const char *value = va_arg(rest, const char *);
        size_t size = (request->field_count + 1) * sizeof *request->fields;
        request->fields = hms_sdk_room(request->fields, size);
        request->fields[request->field_count++] =
            (hms_sdk_field){name, strlen(name), value, strlen(value)};
    }
    va_end(rest);
    return request;
}

hms_request *unit_posted(const char *body, size_t length) {
    hms_request *request = unit_request("POST", "/", NULL);
    sent = body;
    sent_length = length;
    request->body = NULL;
    return request;
}

hms_response *unit_response(const hms_request *request) {
    hms_response *response = calloc(1, sizeof *response);
    response->status = 200;
    response->request = request;
    return response;
}

const char *unit_header(const hms_response *response, const char *name) {
    const hms_attribute *one = hms_sdk_headers(response, true);
    while (one->name != NULL && strcmp(one->name, name) != 0) one++;
    return one->value;
}

static const char *const *keys;
static size_t key_count;

void unit_keys(const char *const *all, size_t count) {
    keys = all;
    key_count = count;
}

bool wasi_keyvalue_store_open(window_string_t *name, wasi_keyvalue_store_own_bucket_t *bucket,
                              wasi_keyvalue_store_error_t *error) {
    (void)name, (void)error;
    bucket->__handle = 1;
    return true;
}

void wasi_keyvalue_store_bucket_drop_own(wasi_keyvalue_store_own_bucket_t bucket) { (void)bucket; }

wasi_keyvalue_store_borrow_bucket_t wasi_keyvalue_store_borrow_bucket(
    wasi_keyvalue_store_own_bucket_t bucket) {
    return (wasi_keyvalue_store_borrow_bucket_t){bucket.__handle};
}

/* Its cursor is the number of keys before. */
bool wasi_keyvalue_store_method_bucket_list_keys(wasi_keyvalue_store_borrow_bucket_t bucket,
                                                 window_string_t *cursor,
                                                 wasi_keyvalue_store_key_response_t *ret,
                                                 wasi_keyvalue_store_error_t *error) {
    (void)bucket, (void)error;
    size_t first = cursor == NULL ? 0 : strtoul((char *)cursor->ptr, NULL, 10);
    size_t count = first >= key_count ? 0 : key_count - first < 3 ? key_count - first : 3;
    window_string_t *page = calloc(count + 1, sizeof *page);
    for (size_t i = 0; i < count; i++) page[i] = text_of(keys[first + i]);
    ret->keys.ptr = page;
    ret->keys.len = count;
    bool is_last = first + count >= key_count;
    ret->cursor = option_of(is_last ? NULL : hms_format("%zu", first + count));
    return true;
}

void wasi_keyvalue_store_key_response_free(wasi_keyvalue_store_key_response_t *ptr) { (void)ptr; }
