/* From a request of the host to hms_handle(), and its answer back. */
#include <stdio.h>
#include <strings.h>

#include "internal.h"

/* What the component is written with, for `hms inspect`. */
__asm__(".section \".custom_section.hms-sdk\",\"\",@\n.ascii \"hms-window (C) 0.1.0\"\n.text\n");

__attribute__((weak)) const size_t hms_body_limit = HMS_BODY_LIMIT;

static const char *method_name(const wasi_http_types_method_t *method) {
    static const char *const names[] = {"GET",     "GET",     "POST",  "PUT",  "DELETE",
                                        "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    if (method->tag < WASI_HTTP_TYPES_METHOD_OTHER) return names[method->tag];
    return hms_sdk_copied(method->val.other.ptr, method->val.other.len);
}

/* Opens the body; without one it has ended. */
static void open_body(hms_request *request, wasi_http_types_own_incoming_request_t incoming) {
    wasi_http_types_own_incoming_body_t body;
    request->ended = !wasi_http_types_method_incoming_request_consume(
                         wasi_http_types_borrow_incoming_request(incoming), &body) ||
                     !wasi_http_types_method_incoming_body_stream(
                         wasi_http_types_borrow_incoming_body(body), &request->stream);
}

/* All of the body, or false if it is over the limit or broke off: then there is an answer. */
static bool read_body(hms_request *request, hms_response *response) {
    size_t room = 0;
    for (;;) {
        if (request->length == room) {
            room = room == 0 ? CHUNK : room * 2;
            if (room > hms_body_limit) room = hms_body_limit + 1;
            request->body = hms_sdk_room(request->body, room + 1);
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

static void append(wasi_http_types_own_fields_t fields, const char *name, const char *value) {
    if (!hms_sdk_append(fields, name, value)) hms_log("the header '%s' cannot be sent", name);
}

static bool has_length(const hms_response *response) {
    for (size_t i = 0; i < response->headers; i++) {
        if (strcasecmp(response->names[i], "content-length") == 0) return true;
    }
    return false;
}

/* Sends the head. `whole`: the body is all there. */
static void begin(hms_response *response, bool whole) {
    wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
    bool has_body = response->status != 204 && response->status != 304;
    if (whole && has_body && !has_length(response)) {
        char length[24];
        snprintf(length, sizeof length, "%zu", response->length);
        append(fields, "content-length", length);
    }
    if (response->content_type != NULL) append(fields, "content-type", response->content_type);
    for (size_t i = 0; i < response->headers; i++)
        append(fields, response->names[i], response->values[i]);
    wasi_http_types_own_outgoing_response_t answer =
        wasi_http_types_constructor_outgoing_response(fields);
    wasi_http_types_borrow_outgoing_response_t borrowed =
        wasi_http_types_borrow_outgoing_response(answer);
    if (!wasi_http_types_method_outgoing_response_set_status_code(borrowed,
                                                                  (uint16_t)response->status)) {
        hms_log("the status %d cannot be sent", response->status);
        wasi_http_types_method_outgoing_response_set_status_code(borrowed, 500);
    }
    if (!wasi_http_types_method_outgoing_response_body(borrowed, &response->outgoing)) abort();
    wasi_http_types_result_own_outgoing_response_error_code_t sent = {.is_err = false,
                                                                      .val.ok = answer};
    wasi_http_types_static_response_outparam_set(response->out, &sent);
    if (!wasi_http_types_method_outgoing_body_write(
            wasi_http_types_borrow_outgoing_body(response->outgoing), &response->stream)) {
        abort();
    }
    response->begun = true;
}

hms_outcome hms_write(hms_response *response, const void *bytes, size_t length) {
    if (!response->begun) begin(response, false);
    if (!response->broken) response->broken = !hms_sdk_write(response->stream, bytes, length);
    return response->broken ? hms_sdk_failed("broken", "the client is gone") : HMS_OK;
}

void hms_break_off(hms_response *response) { response->broken = true; }

static void end(hms_response *response) {
    if (!response->begun) {
        begin(response, true);
        if (!hms_sdk_write(response->stream, response->body, response->length))
            response->broken = true;
    }
    wasi_io_streams_output_stream_drop_own(response->stream);
    if (response->broken) {
        /* A body that is not finished does not look whole to the client. */
        wasi_http_types_outgoing_body_drop_own(response->outgoing);
        return;
    }
    wasi_http_types_error_code_t error;
    wasi_http_types_static_outgoing_body_finish(response->outgoing, NULL, &error);
}

void exports_wasi_http_incoming_handler_handle(
    exports_wasi_http_incoming_handler_own_incoming_request_t incoming,
    exports_wasi_http_incoming_handler_own_response_outparam_t out) {
    wasi_http_types_borrow_incoming_request_t borrowed =
        wasi_http_types_borrow_incoming_request(incoming);
    hms_request request = {0};
    hms_response response = {.status = 200, .out = out};
    wasi_http_types_method_t method;
    wasi_http_types_method_incoming_request_method(borrowed, &method);
    request.method = method_name(&method);
    request.is_head = method.tag == WASI_HTTP_TYPES_METHOD_HEAD;
    window_string_t target;
    char *path = wasi_http_types_method_incoming_request_path_with_query(borrowed, &target)
                     ? hms_sdk_terminated(target.ptr, target.len)
                     : hms_sdk_copied("/", 1);
    char *query = strchr(path, '?');
    if (query != NULL) *query++ = 0;
    request.path = path;
    request.query = query == NULL ? "" : query;
    request.headers = wasi_http_types_method_incoming_request_headers(borrowed);
    response.request_id = hms_header(&request, "x-request-id");
    open_body(&request, incoming);
    if (hms_body_limit == HMS_STREAM) request.body = hms_sdk_copied("", 0);
    if (hms_body_limit == HMS_STREAM || read_body(&request, &response))
        hms_handle(&request, &response);
    end(&response);
}
