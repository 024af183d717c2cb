/* What hms_window.h says, by the bindings of wit/. */
#include "hms_window.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "window.h"

#define MAX_HEADERS 32
#define CHUNK 65536
/* What a write of WASI 0.2 takes at once. */
#define WRITE 4096

/* What the component is written with, for `hms inspect`. */
__asm__(".section \".custom_section.hms-sdk\",\"\",@\n.ascii \"hms-window (C) 0.1.0\"\n.text\n");

struct hms_request {
    const char *method;
    const char *path;
    const char *query;
    wasi_http_types_own_headers_t headers;
    char *body;
    size_t length;
};

struct hms_response {
    int status;
    const char *names[MAX_HEADERS];
    const char *values[MAX_HEADERS];
    size_t headers;
    const void *body;
    size_t length;
    const char *request_id;
};

static const char *error_text = "";

static window_string_t text_of(const char *text) {
    return (window_string_t){(uint8_t *)text, strlen(text)};
}

static char *copied(const void *bytes, size_t length) {
    char *copy = malloc(length + 1);
    if (copy == NULL) abort();
    memcpy(copy, bytes, length);
    copy[length] = 0;
    return copy;
}

static const char *method_name(const wasi_http_types_method_t *method) {
    static const char *const names[] = {"GET",     "GET",     "POST",  "PUT",  "DELETE",
                                        "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    if (method->tag < WASI_HTTP_TYPES_METHOD_OTHER) return names[method->tag];
    return copied(method->val.other.ptr, method->val.other.len);
}

const char *hms_method(const hms_request *request) { return request->method; }
const char *hms_path(const hms_request *request) { return request->path; }
const char *hms_query(const hms_request *request) { return request->query; }

const char *hms_header(const hms_request *request, const char *name) {
    window_string_t asked = text_of(name);
    wasi_http_types_list_field_value_t values;
    wasi_http_types_method_fields_get(wasi_http_types_borrow_fields(request->headers), &asked, &values);
    return values.len == 0 ? NULL : copied(values.ptr[0].ptr, values.ptr[0].len);
}

const char *hms_body(const hms_request *request, size_t *length) {
    if (length != NULL) *length = request->length;
    return request->body;
}

const char *hms_user(const hms_request *request) {
    const char *user = hms_header(request, "x-hms-user");
    return user != NULL && *user != 0 ? user : NULL;
}

void hms_respond(hms_response *response, int status, const char *content_type, const void *body,
                 size_t length) {
    response->status = status;
    response->body = body;
    response->length = length;
    if (content_type != NULL) hms_set_header(response, "content-type", content_type);
}

void hms_text(hms_response *response, int status, const char *text) {
    hms_respond(response, status, "text/plain; charset=utf-8", text, strlen(text));
}

void hms_json(hms_response *response, int status, const char *json) {
    hms_respond(response, status, "application/json", json, strlen(json));
}

void hms_set_header(hms_response *response, const char *name, const char *value) {
    if (response->headers == MAX_HEADERS) {
        hms_log("the header '%s' is left out: an answer has at most %d", name, MAX_HEADERS);
        return;
    }
    response->names[response->headers] = name;
    response->values[response->headers++] = value;
}

/* `text` as it stands in a JSON text. */
static const char *escaped(const char *text) {
    char *all = malloc(6 * strlen(text) + 1), *end = all;
    if (all == NULL) abort();
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') *end++ = '\\';
        if (byte < 0x20) end += sprintf(end, "\\u%04x", byte);
        else *end++ = (char)byte;
    }
    *end = 0;
    return all;
}

static const char *title_of(int status) {
    switch (status) {
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 409: return "Conflict";
        case 413: return "Payload Too Large";
        case 422: return "Unprocessable Entity";
        case 500: return "Internal Server Error";
        case 503: return "Service Unavailable";
        case 507: return "Insufficient Storage";
        default: return "Problem";
    }
}

void hms_problem(hms_response *response, int status, const char *code, const char *detail) {
    const char *id = response->request_id == NULL ? "" : escaped(response->request_id);
    detail = escaped(detail);
    size_t size = strlen(code) + strlen(detail) + strlen(id) + 160;
    char *json = malloc(size);
    if (json == NULL) abort();
    int length = snprintf(json, size,
                          "{\"type\":\"urn:hms:problem:%s\",\"title\":\"%s\",\"status\":%d,"
                          "\"detail\":\"%s\"%s%s%s}",
                          code, title_of(status), status, detail, *id == 0 ? "" : ",\"request-id\":\"",
                          id, *id == 0 ? "" : "\"");
    hms_respond(response, status, "application/problem+json", json, (size_t)length);
}

void hms_not_found(hms_response *response) { hms_problem(response, 404, "not-found", "not found"); }

void hms_method_not_allowed(hms_response *response, const char *allow) {
    char *detail = malloc(strlen(allow) + 32);
    if (detail == NULL) abort();
    sprintf(detail, "allowed methods: %s", allow);
    hms_set_header(response, "allow", allow);
    hms_problem(response, 405, "method-not-allowed", detail);
}

void hms_unauthorized(hms_response *response) {
    hms_set_header(response, "www-authenticate", "Bearer realm=\"hms\"");
    hms_problem(response, 401, "unauthorized",
                "authentication required: send a token as 'Authorization: Bearer TOKEN'");
}

static hms_outcome failed(const wasi_keyvalue_store_error_t *error) {
    error_text = error->tag == WASI_KEYVALUE_STORE_ERROR_OTHER
                     ? copied(error->val.other.ptr, error->val.other.len)
                     : "store-unavailable: the store cannot be opened";
    return HMS_FAILED;
}

/* The part of the store that was used last is kept open. */
static hms_outcome opened(const char *part, wasi_keyvalue_store_borrow_bucket_t *bucket) {
    static char *name;
    static wasi_keyvalue_store_own_bucket_t open;
    if (name == NULL || strcmp(name, part) != 0) {
        if (name != NULL) wasi_keyvalue_store_bucket_drop_own(open);
        free(name);
        name = NULL;
        window_string_t asked = text_of(part);
        wasi_keyvalue_store_error_t error;
        if (!wasi_keyvalue_store_open(&asked, &open, &error)) return failed(&error);
        name = copied(part, strlen(part));
    }
    *bucket = wasi_keyvalue_store_borrow_bucket(open);
    return HMS_OK;
}

hms_outcome hms_get(const char *part, const char *key, const char **value, size_t *length) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    window_option_list_u8_t found;
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_store_method_bucket_get(bucket, &asked, &found, &error)) return failed(&error);
    if (!found.is_some) return HMS_NONE;
    *value = copied(found.val.ptr, found.val.len);
    if (length != NULL) *length = found.val.len;
    return HMS_OK;
}

hms_outcome hms_set(const char *part, const char *key, const void *value, size_t length) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    window_list_u8_t bytes = {(uint8_t *)value, length};
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_store_method_bucket_set(bucket, &asked, &bytes, &error)) return failed(&error);
    return HMS_OK;
}

hms_outcome hms_delete(const char *part, const char *key) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_store_method_bucket_delete(bucket, &asked, &error)) return failed(&error);
    return HMS_OK;
}

hms_outcome hms_increment(const char *part, const char *key, int64_t by, int64_t *sum) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_atomics_increment(bucket, &asked, by, sum, &error)) return failed(&error);
    return HMS_OK;
}

const char *hms_error(void) { return error_text; }

void hms_store_problem(hms_response *response) {
    hms_log("the store: %s", error_text);
    if (strncmp(error_text, "store-full", 10) == 0) {
        hms_problem(response, 507, "store-full", "the window's store is full");
    } else if (strncmp(error_text, "store-unavailable", 17) == 0) {
        hms_set_header(response, "retry-after", "2");
        hms_problem(response, 503, "store-unavailable",
                    "the window's store is unavailable; retry shortly");
    } else {
        hms_problem(response, 500, "internal",
                    "internal error; the window's log has the cause under this request ID");
    }
}

const char *hms_config(const char *name) {
    window_string_t asked = text_of(name);
    window_option_string_t found;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get(&asked, &found, &error) || !found.is_some) return NULL;
    return copied(found.val.ptr, found.val.len);
}

void hms_log(const char *format, ...) {
    char line[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    window_string_t context = text_of(""), message = text_of(line);
    wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_INFO, &context, &message);
}

/* All of the body, or false if it is over the limit or broke off: then there is an answer. */
static bool read_body(hms_request *request, wasi_http_types_own_incoming_request_t incoming,
                      hms_response *response) {
    wasi_http_types_own_incoming_body_t body;
    wasi_http_types_own_input_stream_t stream;
    request->body = copied("", 0);
    if (!wasi_http_types_method_incoming_request_consume(
            wasi_http_types_borrow_incoming_request(incoming), &body) ||
        !wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body), &stream)) {
        return true;
    }
    for (;;) {
        window_list_u8_t chunk;
        wasi_io_streams_stream_error_t error;
        if (!wasi_io_streams_method_input_stream_blocking_read(
                wasi_io_streams_borrow_input_stream(stream), CHUNK, &chunk, &error)) {
            if (error.tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED) return true;
            hms_problem(response, 400, "bad-request", "the body broke off");
            return false;
        }
        if (request->length + chunk.len > HMS_BODY_LIMIT) {
            hms_problem(response, 413, "body-too-large", "the request body is larger than 1048576 bytes");
            return false;
        }
        request->body = realloc(request->body, request->length + chunk.len + 1);
        if (request->body == NULL) abort();
        memcpy(request->body + request->length, chunk.ptr, chunk.len);
        request->length += chunk.len;
        request->body[request->length] = 0;
        window_list_u8_free(&chunk);
    }
}

static void send(const hms_response *response, wasi_http_types_own_response_outparam_t out) {
    wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
    char length[24];
    snprintf(length, sizeof length, "%zu", response->length);
    window_string_t name = text_of("content-length");
    wasi_http_types_field_value_t value = {(uint8_t *)length, strlen(length)};
    wasi_http_types_header_error_t refused;
    if (response->status != 204 && response->status != 304) {
        wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(fields), &name, &value, &refused);
    }
    for (size_t i = 0; i < response->headers; i++) {
        name = text_of(response->names[i]);
        value = (wasi_http_types_field_value_t){(uint8_t *)response->values[i], strlen(response->values[i])};
        if (!wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(fields), &name, &value,
                                                  &refused)) {
            hms_log("the header '%s' cannot be sent", response->names[i]);
        }
    }
    wasi_http_types_own_outgoing_response_t answer = wasi_http_types_constructor_outgoing_response(fields);
    wasi_http_types_borrow_outgoing_response_t borrowed = wasi_http_types_borrow_outgoing_response(answer);
    wasi_http_types_method_outgoing_response_set_status_code(borrowed, (uint16_t)response->status);
    wasi_http_types_own_outgoing_body_t body;
    if (!wasi_http_types_method_outgoing_response_body(borrowed, &body)) abort();
    wasi_http_types_result_own_outgoing_response_error_code_t sent = {.is_err = false, .val.ok = answer};
    wasi_http_types_static_response_outparam_set(out, &sent);
    wasi_http_types_own_output_stream_t stream;
    if (response->length > 0 &&
        wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream)) {
        for (size_t at = 0; at < response->length; at += WRITE) {
            size_t rest = response->length - at;
            window_list_u8_t chunk = {(uint8_t *)response->body + at, rest < WRITE ? rest : WRITE};
            wasi_io_streams_stream_error_t error;
            if (!wasi_io_streams_method_output_stream_blocking_write_and_flush(
                    wasi_io_streams_borrow_output_stream(stream), &chunk, &error)) {
                break;
            }
        }
        wasi_io_streams_output_stream_drop_own(stream);
    }
    wasi_http_types_error_code_t error;
    wasi_http_types_static_outgoing_body_finish(body, NULL, &error);
}

void exports_wasi_http_incoming_handler_handle(
    exports_wasi_http_incoming_handler_own_incoming_request_t incoming,
    exports_wasi_http_incoming_handler_own_response_outparam_t out) {
    wasi_http_types_borrow_incoming_request_t borrowed = wasi_http_types_borrow_incoming_request(incoming);
    hms_request request = {0};
    hms_response response = {.status = 200};
    wasi_http_types_method_t method;
    wasi_http_types_method_incoming_request_method(borrowed, &method);
    request.method = method_name(&method);
    window_string_t target;
    char *path = wasi_http_types_method_incoming_request_path_with_query(borrowed, &target)
                     ? copied(target.ptr, target.len)
                     : copied("/", 1);
    char *query = strchr(path, '?');
    if (query != NULL) *query++ = 0;
    request.path = path;
    request.query = query == NULL ? "" : query;
    request.headers = wasi_http_types_method_incoming_request_headers(borrowed);
    response.request_id = hms_header(&request, "x-request-id");
    if (read_body(&request, incoming, &response)) hms_handle(&request, &response);
    send(&response, out);
}
