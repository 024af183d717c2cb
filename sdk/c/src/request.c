/* What a request says. */
#include <errno.h>
#include <inttypes.h>
#include <strings.h>

#include "internal.h"

/* What the component is written with, for `hms inspect`. */
#ifdef __wasm__
__asm__(".section \".custom_section.hms-sdk\",\"\",@\n.ascii \"hms-window (C) 0.1.0\"\n.text\n");
#endif

__attribute__((weak)) const size_t hms_body_limit = HMS_BODY_LIMIT;

const char *const hms_sdk_methods[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                       "CONNECT", "OPTIONS", "TRACE", "PATCH"};

void hms_sdk_begin(hms_request *request, const char *method, char *target) {
    request->is_head = strcmp(method, "HEAD") == 0;
    request->method = request->is_head ? "GET" : method;
    if (target == NULL) target = hms_sdk_copied("/", 1);
    char *query = strchr(target, '?');
    if (query != NULL) *query++ = 0;
    request->path = target;
    request->query = query == NULL ? "" : query;
}

/* Room for more of the body: for all of it, where the client has said how much it is. */
static size_t more_room(const hms_request *request, size_t room) {
    const char *said = room == 0 ? NULL : hms_header(request, "content-length");
    size_t length = said == NULL ? 0 : (size_t)strtoull(said, NULL, 10);
    size_t more = length > room ? length + 1 : hms_sdk_more(room);
    return more > hms_body_limit ? hms_body_limit + 1 : more;
}

bool hms_sdk_read_body(hms_request *request, hms_response *response) {
    size_t room = 0;
    for (;;) {
        if (request->length == room) {
            room = more_room(request, room);
            char *body = realloc(request->body, room + 1);
            if (body == NULL) {
                hms_problem(response, 413, "body-too-large",
                            "the body takes more memory than there is");
                return false;
            }
            request->body = body;
        }
        size_t read;
        hms_outcome outcome =
            hms_read(request, request->body + request->length, room - request->length, &read);
        request->length += read;
        request->body[request->length] = 0;
        if (outcome == HMS_NONE) return true;
        if (outcome == HMS_FAILED) {
            hms_bad_request(response, "the body broke off");
            return false;
        }
        if (request->length > hms_body_limit) {
            hms_problem(response, 413, "body-too-large",
                        hms_format("the request body is larger than %zu bytes", hms_body_limit));
            return false;
        }
    }
}

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
    /* strtoimax() alone skips spaces and takes a plus. */
    bool begins = *text == '-' || (*text >= '0' && *text <= '9');
    if (!begins || end == text || *end != 0 || errno != 0) {
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

const hms_sdk_field *hms_sdk_fields(const hms_request *request, size_t *count) {
    if (!request->has_fields) {
        /* The request in hand, which is no constant. */
        hms_request *loading = (hms_request *)request;
        loading->has_fields = true;
        hms_sdk_load_fields(loading);
    }
    *count = request->field_count;
    return request->fields;
}

const char *hms_sdk_value(const hms_request *request, const char *name, size_t *at) {
    size_t count, length = strlen(name);
    const hms_sdk_field *fields = hms_sdk_fields(request, &count);
    while (*at < count) {
        const hms_sdk_field *field = &fields[(*at)++];
        if (field->name_length == length && strncasecmp(field->name, name, length) == 0)
            return hms_sdk_text(field->value, field->length);
    }
    return NULL;
}

const char *hms_header(const hms_request *request, const char *name) {
    size_t at = 0;
    return hms_sdk_value(request, name, &at);
}

const char *hms_body(const hms_request *request, size_t *length) {
    if (length != NULL) *length = request->length;
    return request->body;
}

const char *hms_user(const hms_request *request) {
    const char *user = hms_header(request, "x-hms-user");
    return user != NULL && *user != 0 ? user : NULL;
}

const char *hms_user_part(const hms_request *request, const char *part) {
    const char *user = hms_user(request);
    return user == NULL ? NULL : hms_format("%s/%s", part, user);
}
