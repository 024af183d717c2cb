/* A middleware: from a request of the host to hms_handle(), which may call hms_next(), and its
 * answer back, as WASI 0.3 has them. What waits blocks the instance: it has one request in hand. */
#include "hms_middleware.h"

#include "internal.h"
#include "middleware.h"

typedef next_result_option_own_trailers_error_code_t trailers;
typedef next_future_result_option_own_trailers_error_code_t trailers_reader;
typedef next_future_result_option_own_trailers_error_code_writer_t trailers_writer;
typedef next_tuple2_stream_u8_future_result_option_own_trailers_error_code_t body;

#define trailers_new next_future_result_option_own_trailers_error_code_new
#define trailers_read next_future_result_option_own_trailers_error_code_read
#define trailers_write next_future_result_option_own_trailers_error_code_write
#define trailers_close next_future_result_option_own_trailers_error_code_drop_writable

struct hms_sdk_chain {
    /* Of the request that goes on. A header whose value is NULL is taken away. */
    hms_attribute *headers;
    size_t header_count;
    /* The request is no more: its body was opened, or it has gone on. */
    bool taken;
    trailers_reader trailers;
    /* What hms_next() has got, and its headers, which are ours to change. */
    next_own_response_t answer;
    next_own_fields_t answered;
    /* The end of the answer's body. */
    trailers_writer end;
};

/* What came of a read or a write. */
static uint32_t awaited(uint32_t waitable, middleware_waitable_status_t status) {
    if (status != MIDDLEWARE_WAITABLE_STATUS_BLOCKED) return status;
    middleware_waitable_set_t set = middleware_waitable_set_new();
    middleware_event_t event;
    middleware_waitable_join(waitable, set);
    middleware_waitable_set_wait(set, &event);
    middleware_waitable_join(waitable, 0);
    middleware_waitable_set_drop(set);
    return event.code;
}

static next_borrow_request_t request_of(const hms_request *request) {
    return (next_borrow_request_t){request->handle};
}

/* That a body is welcome: the host hears it when it reads it, or never. */
static next_future_result_void_error_code_t welcome(void) {
    static const next_result_void_error_code_t ok;
    next_future_result_void_error_code_writer_t writer;
    next_future_result_void_error_code_t reader = next_future_result_void_error_code_new(&writer);
    next_future_result_void_error_code_write(writer, &ok);
    return reader;
}

void hms_sdk_load_fields(hms_request *request) {
    if (request->chain->taken) return;
    next_own_fields_t headers = next_method_request_get_headers(request_of(request));
    next_list_tuple2_field_name_field_value_t found;
    next_method_fields_copy_all(next_borrow_fields(headers), &found);
    next_fields_drop_own(headers);
    request->fields = hms_sdk_room(NULL, (found.len + 1) * sizeof *request->fields);
    request->field_count = found.len;
    for (size_t i = 0; i < found.len; i++) {
        const next_field_name_t *name = &found.ptr[i].f0;
        const next_field_value_t *value = &found.ptr[i].f1;
        request->fields[i] = (hms_sdk_field){(const char *)name->ptr, name->len,
                                             (const char *)value->ptr, value->len};
    }
}

/* Takes the request apart: what it has beside its body is read before. */
static body take(const hms_request *request) {
    size_t count;
    hms_sdk_fields(request, &count);
    request->chain->taken = true;
    body taken;
    next_static_request_consume_body((next_own_request_t){request->handle}, welcome(), &taken);
    return taken;
}

hms_outcome hms_read(const hms_request *request, void *buffer, size_t size, size_t *length) {
    /* The request in hand, which is no constant. */
    hms_request *reading = (hms_request *)request;
    struct hms_sdk_chain *chain = request->chain;
    *length = 0;
    if (!reading->opened) {
        if (chain->taken) return hms_sdk_failed("invalid", "the body has gone on");
        body taken = take(request);
        reading->opened = true;
        reading->stream = (int32_t)taken.f0;
        chain->trailers = taken.f1;
    }
    while (*length < size && !reading->ended) {
        next_stream_u8_t stream = (next_stream_u8_t)reading->stream;
        uint32_t came = awaited(
            stream, next_stream_u8_read(stream, (uint8_t *)buffer + *length, size - *length));
        *length += MIDDLEWARE_WAITABLE_COUNT(came);
        if (MIDDLEWARE_WAITABLE_STATE(came) == MIDDLEWARE_WAITABLE_COMPLETED) continue;
        reading->ended = true;
        trailers outcome = {0};
        awaited(chain->trailers, trailers_read(chain->trailers, &outcome));
        if (outcome.is_err) return hms_sdk_failed("broken", "the body broke off");
    }
    return *length == 0 && size > 0 ? HMS_NONE : HMS_OK;
}

/* Sets headers in place of those that are there. Of one name all are set. */
static void replace(next_own_fields_t fields, const hms_attribute *headers) {
    next_borrow_fields_t borrowed = next_borrow_fields(fields);
    next_header_error_t refused;
    for (const hms_attribute *one = headers; one->name != NULL; one++) {
        next_field_name_t name = {(uint8_t *)one->name, strlen(one->name)};
        next_method_fields_delete(borrowed, &name, &refused);
    }
    for (const hms_attribute *one = headers; one->name != NULL; one++) {
        if (one->value == NULL) continue;
        next_field_name_t name = {(uint8_t *)one->name, strlen(one->name)};
        next_field_value_t value = {(uint8_t *)one->value, strlen(one->value)};
        if (!next_method_fields_append(borrowed, &name, &value, &refused))
            hms_log("the header '%s' cannot be sent", one->name);
    }
}

void hms_forward_header(const hms_request *request, const char *name, const char *value) {
    struct hms_sdk_chain *chain = request->chain;
    /* One without a name is behind the last. */
    size_t size = (chain->header_count + 2) * sizeof *chain->headers;
    chain->headers = hms_sdk_room(chain->headers, size);
    chain->headers[chain->header_count++] = (hms_attribute){name, value};
    chain->headers[chain->header_count] = (hms_attribute){NULL, NULL};
}

/* The request, as it goes on. */
static next_own_request_t forwarded(const hms_request *request) {
    next_borrow_request_t from = request_of(request);
    next_method_t method;
    middleware_string_t target, authority;
    next_scheme_t scheme;
    next_method_request_get_method(from, &method);
    bool has_target = next_method_request_get_path_with_query(from, &target);
    bool has_scheme = next_method_request_get_scheme(from, &scheme);
    bool has_authority = next_method_request_get_authority(from, &authority);
    next_own_fields_t headers = next_method_request_get_headers(from);
    next_own_fields_t fields = next_method_fields_clone(next_borrow_fields(headers));
    next_fields_drop_own(headers);
    if (request->chain->headers != NULL) replace(fields, request->chain->headers);
    body taken = take(request);
    next_tuple2_own_request_future_result_void_error_code_t made;
    next_static_request_new(fields, &taken.f0, taken.f1, NULL, &made);
    next_future_result_void_error_code_drop_readable(made.f1);
    next_borrow_request_t to = next_borrow_request(made.f0);
    next_method_request_set_method(to, &method);
    next_method_request_set_path_with_query(to, has_target ? &target : NULL);
    next_method_request_set_scheme(to, has_scheme ? &scheme : NULL);
    next_method_request_set_authority(to, has_authority ? &authority : NULL);
    return made.f0;
}

bool hms_next(const hms_request *request, hms_response *response) {
    struct hms_sdk_chain *chain = request->chain;
    if (chain->taken) {
        hms_internal(response, "a request goes on once, and not after its body was read");
        return false;
    }
    next_handler_error_code_t error;
    if (!next_handler_handle(forwarded(request), &chain->answer, &error)) {
        hms_log("the next handler did not answer: error %d of wasi:http", error.tag);
        hms_problem(response, 502, "no-answer", "the next handler did not answer");
        return false;
    }
    next_borrow_response_t answer = next_borrow_response(chain->answer);
    next_own_fields_t headers = next_method_response_get_headers(answer);
    chain->answered = next_method_fields_clone(next_borrow_fields(headers));
    next_fields_drop_own(headers);
    response->status = next_method_response_get_status_code(answer);
    response->passed = true;
    return true;
}

int hms_next_status(const hms_response *response) {
    return response->passed ? response->status : 0;
}

const char *hms_next_header(const hms_response *response, const char *name) {
    if (!response->passed) return NULL;
    next_field_name_t asked = {(uint8_t *)name, strlen(name)};
    next_list_field_value_t values;
    next_method_fields_get(next_borrow_fields(response->request->chain->answered), &asked, &values);
    return values.len == 0 ? NULL : hms_sdk_text(values.ptr[0].ptr, values.ptr[0].len);
}

/* Hands the answer to the host, whose body may follow. */
static void answer(hms_response *response, next_own_fields_t fields, next_stream_u8_t *contents,
                   trailers_reader end) {
    next_tuple2_own_response_future_result_void_error_code_t made;
    next_static_response_new(fields, contents, end, &made);
    next_future_result_void_error_code_drop_readable(made.f1);
    next_method_response_set_status_code(next_borrow_response(made.f0), hms_sdk_status(response));
    exports_next_handler_handle_return(
        (exports_next_handler_result_own_response_error_code_t){.is_err = false,
                                                                          .val.ok = made.f0});
    response->begun = true;
}

static void begin(hms_response *response, bool whole) {
    next_own_fields_t fields = next_constructor_fields();
    replace(fields, hms_sdk_headers(response, whole));
    next_stream_u8_writer_t writer;
    next_stream_u8_t contents = next_stream_u8_new(&writer);
    trailers_reader end = trailers_new(&response->request->chain->end);
    response->stream = (int32_t)writer;
    answer(response, fields, &contents, end);
}

/* The answer of hms_next(), with the headers that were set. */
static void pass(hms_response *response) {
    struct hms_sdk_chain *chain = response->request->chain;
    replace(chain->answered, hms_sdk_headers(response, false));
    body taken;
    next_static_response_consume_body(chain->answer, welcome(), &taken);
    answer(response, chain->answered, &taken.f0, taken.f1);
}

static bool write_all(hms_response *response, const uint8_t *bytes, size_t length) {
    next_stream_u8_writer_t writer = (next_stream_u8_writer_t)response->stream;
    while (length > 0) {
        uint32_t went = awaited(writer, next_stream_u8_write(writer, bytes, length));
        bytes += MIDDLEWARE_WAITABLE_COUNT(went);
        length -= MIDDLEWARE_WAITABLE_COUNT(went);
        if (MIDDLEWARE_WAITABLE_STATE(went) != MIDDLEWARE_WAITABLE_COMPLETED) return length == 0;
    }
    return true;
}

hms_outcome hms_write(hms_response *response, const void *bytes, size_t length) {
    response->passed = false;
    if (!response->begun) begin(response, false);
    if (!response->broken) response->broken = !write_all(response, bytes, length);
    return response->broken ? hms_sdk_failed("broken", "the client is gone") : HMS_OK;
}

static void end(hms_response *response) {
    if (response->passed) {
        pass(response);
        return;
    }
    if (!response->begun) {
        begin(response, true);
        if (!write_all(response, response->body, response->length)) response->broken = true;
    }
    next_stream_u8_drop_writable((next_stream_u8_writer_t)response->stream);
    /* A body that ends with an error does not look whole to the client. */
    trailers last = {.is_err = response->broken};
    if (response->broken) last.val.err.tag = NEXT_ERROR_CODE_INTERNAL_ERROR;
    trailers_writer writer = response->request->chain->end;
    awaited(writer, trailers_write(writer, &last));
    trailers_close(writer);
}

static const char *method_of(next_borrow_request_t request) {
    next_method_t method;
    next_method_request_get_method(request, &method);
    if (method.tag < NEXT_METHOD_OTHER) return hms_sdk_methods[method.tag];
    return hms_sdk_copied(method.val.other.ptr, method.val.other.len);
}

static char *target_of(next_borrow_request_t request) {
    middleware_string_t target;
    return next_method_request_get_path_with_query(request, &target)
               ? hms_sdk_terminated(target.ptr, target.len)
               : NULL;
}

middleware_callback_code_t exports_next_handler_handle(
    exports_next_handler_own_request_t handle) {
    struct hms_sdk_chain chain = {0};
    hms_request request = {.handle = handle.__handle, .chain = &chain};
    hms_response response = {.status = 200, .request = &request};
    request.body = hms_sdk_copied("", 0);
    hms_sdk_begin(&request, method_of(request_of(&request)), target_of(request_of(&request)));
    hms_handle(&request, &response);
    end(&response);
    return MIDDLEWARE_CALLBACK_CODE_EXIT;
}

/* It is never waited for: see awaited(). */
middleware_callback_code_t exports_next_handler_handle_callback(
    middleware_event_t *event) {
    (void)event;
    return MIDDLEWARE_CALLBACK_CODE_EXIT;
}
