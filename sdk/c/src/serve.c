/* From a request of the host to hms_handle(), and its answer back: as WASI 0.2 has them. */
#include "internal.h"

static wasi_io_streams_own_input_stream_t input_of(const hms_request *request) {
    return (wasi_io_streams_own_input_stream_t){request->stream};
}

static wasi_io_streams_own_output_stream_t output_of(const hms_response *response) {
    return (wasi_io_streams_own_output_stream_t){response->stream};
}

void hms_sdk_load_fields(hms_request *request) {
    wasi_http_types_own_headers_t headers = wasi_http_types_method_incoming_request_headers(
        (wasi_http_types_borrow_incoming_request_t){request->handle});
    wasi_http_types_list_tuple2_field_key_field_value_t found;
    wasi_http_types_method_fields_entries(wasi_http_types_borrow_fields(headers), &found);
    wasi_http_types_fields_drop_own(headers);
    request->fields = hms_sdk_room(NULL, (found.len + 1) * sizeof *request->fields);
    request->field_count = found.len;
    for (size_t i = 0; i < found.len; i++) {
        const window_string_t *name = &found.ptr[i].f0;
        const wasi_http_types_field_value_t *value = &found.ptr[i].f1;
        request->fields[i] = (hms_sdk_field){(const char *)name->ptr, name->len,
                                             (const char *)value->ptr, value->len};
    }
}

/* Opens the body; without one it has ended. */
static void open_body(hms_request *request) {
    wasi_http_types_own_incoming_body_t body;
    wasi_io_streams_own_input_stream_t stream = {0};
    request->ended = !wasi_http_types_method_incoming_request_consume(
                         (wasi_http_types_borrow_incoming_request_t){request->handle}, &body) ||
                     !wasi_http_types_method_incoming_body_stream(
                         wasi_http_types_borrow_incoming_body(body), &stream);
    request->stream = stream.__handle;
}

hms_outcome hms_read(const hms_request *request, void *buffer, size_t size, size_t *length) {
    /* The request in hand, which is no constant. */
    hms_request *reading = (hms_request *)request;
    return hms_sdk_read(input_of(request), &reading->ended, buffer, size, length);
}

/* Sends the head. `whole`: the body is all there. */
static void begin(hms_response *response, bool whole) {
    wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
    const hms_attribute *headers = hms_sdk_headers(response, whole);
    for (; headers->name != NULL; headers++) {
        if (headers->value != NULL && !hms_sdk_append(fields, headers->name, headers->value))
            hms_log("the header '%s' cannot be sent", headers->name);
    }
    wasi_http_types_own_outgoing_response_t answer =
        wasi_http_types_constructor_outgoing_response(fields);
    wasi_http_types_borrow_outgoing_response_t borrowed =
        wasi_http_types_borrow_outgoing_response(answer);
    wasi_http_types_method_outgoing_response_set_status_code(borrowed, hms_sdk_status(response));
    wasi_http_types_own_outgoing_body_t body;
    wasi_io_streams_own_output_stream_t stream;
    if (!wasi_http_types_method_outgoing_response_body(borrowed, &body)) abort();
    wasi_http_types_result_own_outgoing_response_error_code_t sent = {.is_err = false,
                                                                      .val.ok = answer};
    wasi_http_types_static_response_outparam_set(
        (wasi_http_types_own_response_outparam_t){response->handle}, &sent);
    if (!wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body),
                                                    &stream)) {
        abort();
    }
    response->body_handle = body.__handle;
    response->stream = stream.__handle;
    response->begun = true;
}

hms_outcome hms_write(hms_response *response, const void *bytes, size_t length) {
    if (!response->begun) begin(response, false);
    if (!response->broken) response->broken = !hms_sdk_write(output_of(response), bytes, length);
    return response->broken ? hms_sdk_failed("broken", "the client is gone") : HMS_OK;
}

static void end(hms_response *response) {
    if (!response->begun) {
        begin(response, true);
        if (!hms_sdk_write(output_of(response), response->body, response->length))
            response->broken = true;
    }
    wasi_io_streams_output_stream_drop_own(output_of(response));
    wasi_http_types_own_outgoing_body_t body = {response->body_handle};
    if (response->broken) {
        /* A body that is not finished does not look whole to the client. */
        wasi_http_types_outgoing_body_drop_own(body);
        return;
    }
    wasi_http_types_error_code_t error;
    wasi_http_types_static_outgoing_body_finish(body, NULL, &error);
}

static const char *method_of(wasi_http_types_borrow_incoming_request_t request) {
    wasi_http_types_method_t method;
    wasi_http_types_method_incoming_request_method(request, &method);
    if (method.tag < WASI_HTTP_TYPES_METHOD_OTHER) return hms_sdk_methods[method.tag];
    return hms_sdk_copied(method.val.other.ptr, method.val.other.len);
}

static char *target_of(wasi_http_types_borrow_incoming_request_t request) {
    window_string_t target;
    return wasi_http_types_method_incoming_request_path_with_query(request, &target)
               ? hms_sdk_terminated(target.ptr, target.len)
               : NULL;
}

/* Handles, as the canonical ABI has them. */
__attribute__((export_name("wasi:http/incoming-handler@0.2.0#handle"))) void hms_sdk_handle(
    int32_t handle, int32_t out) {
    wasi_http_types_borrow_incoming_request_t borrowed = {handle};
    hms_request request = {.handle = handle};
    hms_response response = {.status = 200, .request = &request, .handle = out};
    hms_sdk_begin(&request, method_of(borrowed), target_of(borrowed));
    open_body(&request);
    if (hms_body_limit == HMS_STREAM) request.body = hms_sdk_copied("", 0);
    if (hms_body_limit == HMS_STREAM || hms_sdk_read_body(&request, &response))
        hms_handle(&request, &response);
    end(&response);
    /* By far the most of what an instance with `--reuse` would keep. */
    free(request.body);
}
