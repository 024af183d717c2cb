/* What a request says. */
#include <errno.h>
#include <inttypes.h>

#include "internal.h"

const char *hms_method(const hms_request *request) { return request->method; }
bool hms_is_head(const hms_request *request) { return request->is_head; }
const char *hms_path(const hms_request *request) { return request->path; }
const char *hms_query(const hms_request *request) { return request->query; }

/* The segment at `index`, as it was sent. */
static const char *raw_segment(const char *path, size_t index, size_t *length) {
    if (*path == '/') path++;
    for (; index > 0; index--) {
        path = strchr(path, '/');
        if (path == NULL) return NULL;
        path++;
    }
    *length = strcspn(path, "/");
    return path;
}

const char *hms_segment(const hms_request *request, size_t index) {
    size_t length;
    const char *segment = raw_segment(request->path, index, &length);
    return segment == NULL ? NULL : hms_sdk_decoded(segment, length, false);
}

bool hms_at(const hms_request *request, const char *pattern) {
    for (size_t i = 0;; i++) {
        size_t expected_length;
        const char *expected = raw_segment(pattern, i, &expected_length);
        const char *segment = hms_segment(request, i);
        if (expected == NULL || segment == NULL) return expected == NULL && segment == NULL;
        bool any = expected_length == 1 && *expected == '*';
        if (!any && (strlen(segment) != expected_length ||
                     memcmp(segment, expected, expected_length) != 0)) {
            return false;
        }
    }
}

const char *hms_param(const hms_request *request, const char *name) {
    for (const char *pair = request->query; *pair != 0;) {
        size_t length = strcspn(pair, "&"), split = strcspn(pair, "=&");
        if (strcmp(hms_sdk_decoded(pair, split, true), name) == 0) {
            size_t start = split < length ? split + 1 : length;
            return hms_sdk_decoded(pair + start, length - start, true);
        }
        pair += length + (pair[length] == '&');
    }
    return NULL;
}

bool hms_param_number(const hms_request *request, hms_response *response, const char *name,
                      int64_t *number) {
    const char *text = hms_param(request, name);
    if (text == NULL) return true;
    char *end;
    errno = 0;
    intmax_t read = strtoimax(text, &end, 10);
    if (end == text || *end != 0 || errno != 0 || read < INT64_MIN || read > INT64_MAX) {
        hms_problem(response, 400, "bad-request",
                    hms_format("the parameter '%s': it is not a number", name));
        return false;
    }
    *number = read;
    return true;
}

const char *hms_public_path(const hms_request *request, const char *path) {
    const char *prefix = hms_header(request, "x-forwarded-prefix");
    return hms_format("%s%s", prefix == NULL ? "" : prefix, path);
}

const char *hms_sdk_header(wasi_http_types_own_fields_t fields, const char *name) {
    window_string_t asked = text_of(name);
    wasi_http_types_list_field_value_t values;
    wasi_http_types_method_fields_get(wasi_http_types_borrow_fields(fields), &asked, &values);
    return values.len == 0 ? NULL : hms_sdk_copied(values.ptr[0].ptr, values.ptr[0].len);
}

const char *hms_header(const hms_request *request, const char *name) {
    return hms_sdk_header(request->headers, name);
}

const char *hms_body(const hms_request *request, size_t *length) {
    if (length != NULL) *length = request->length;
    return request->body;
}

hms_outcome hms_read(const hms_request *request, void *buffer, size_t size, size_t *length) {
    /* The instance's only request, which is no constant. */
    hms_request *reading = (hms_request *)request;
    return hms_sdk_read(reading->stream, &reading->ended, buffer, size, length);
}

const char *hms_user(const hms_request *request) {
    const char *user = hms_header(request, "x-hms-user");
    return user != NULL && *user != 0 ? user : NULL;
}

const char *hms_user_part(const hms_request *request, const char *part) {
    const char *user = hms_user(request);
    return user == NULL ? NULL : hms_format("%s/%s", part, user);
}
