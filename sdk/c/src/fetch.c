/* Requests that a window makes. */
#include "hms_fetch.h"

#include <strings.h>

#include "internal.h"

struct hms_answer {
    wasi_http_types_own_incoming_response_t response;
    wasi_http_types_own_headers_t headers;
    wasi_io_streams_own_input_stream_t stream;
    bool ended;
};

/* A URL in its parts, and where it goes as the grants file says it. */
typedef struct {
    bool tls;
    const char *authority;
    const char *path;
    const char *target;
    const char *method;
} address;

static bool parse(const char *url, address *to) {
    size_t scheme = strncasecmp(url, "https://", 8) == 0  ? 8
                    : strncasecmp(url, "http://", 7) == 0 ? 7
                                                          : 0;
    size_t authority = strcspn(url + scheme, "/?#");
    if (scheme == 0 || authority == 0 || !hms_sdk_is_utf8(url, strlen(url))) return false;
    const char *path = url + scheme + authority;
    to->tls = scheme == 8;
    to->authority = hms_sdk_copied(url + scheme, authority);
    to->path = hms_sdk_copied(path, strcspn(path, "#"));
    if (*to->path != '/') to->path = hms_format("/%s", to->path);
    to->target = hms_format("%s://%s", to->tls ? "https" : "http", to->authority);
    return true;
}

/* The entry of a grants file that allows it. Windows are granted by their names. */
static const char *grant_of(const address *to) {
    static const char prefix[] = "hms-svc-", suffix[] = ".spin.internal";
    const char *host = hms_sdk_copied(to->authority, strcspn(to->authority, ":"));
    size_t length = strlen(host), window = length - (sizeof suffix - 1);
    if (strncmp(host, prefix, sizeof prefix - 1) == 0)
        return hms_format("calls: [%s]", host + sizeof prefix - 1);
    if (length > sizeof suffix - 1 && strcmp(host + window, suffix) == 0) {
        return hms_format("calls: [%.*s]", (int)window, host);
    }
    return hms_format("outbound: [{to: %s, methods: [%s]}]", to->target, to->method);
}

#define NO_ADDRESS "its name has no address: check how it is spelt"
#define UNREACHABLE "it cannot be reached now: try again later"
#define NO_CONNECTION "no connection in time: try again later"
#define STOOD_STILL "the transfer stalled"
#define BROKE "the connection broke before the end"
#define NO_URL "its URL cannot be sent: check it"

/* By the code of the host: our own, and what to do. */
static const struct {
    uint8_t tag;
    const char *code, *text;
} reasons[] = {
    {WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_IP_PROHIBITED, "denied",
     "its address is not of the public internet: ask the operator to add its network to the entry "
     "in "
     "windows/NAME.yaml, as in 'private: [10.1.0.0/16]'"},
    {WASI_HTTP_TYPES_ERROR_CODE_LOOP_DETECTED, "loop",
     "call loop, or call chain more than 4 deep: leave out the call that leads back"},
    {WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TIMEOUT, "timeout", NO_CONNECTION},
    {WASI_HTTP_TYPES_ERROR_CODE_DNS_TIMEOUT, "timeout", NO_CONNECTION},
    {WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_TIMEOUT, "timeout", "no answer in time"},
    {WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_READ_TIMEOUT, "timeout", STOOD_STILL},
    {WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_WRITE_TIMEOUT, "timeout", STOOD_STILL},
    {WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_LIMIT_REACHED, "limit",
     "this window or this request has reached its call limit: make fewer calls, or try again "
     "shortly"},
    {WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_BODY_SIZE, "limit",
     "the body of the request is too large"},
    {WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_BODY_SIZE, "limit",
     "the body of the answer is too large"},
    {WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_REFUSED, "refused",
     "it refuses connections: check its port, and that it runs"},
    {WASI_HTTP_TYPES_ERROR_CODE_DNS_ERROR, "unavailable", NO_ADDRESS},
    {WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_NOT_FOUND, "unavailable", NO_ADDRESS},
    {WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_UNAVAILABLE, "unavailable", UNREACHABLE},
    {WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_IP_UNROUTABLE, "unavailable", UNREACHABLE},
    {WASI_HTTP_TYPES_ERROR_CODE_TLS_PROTOCOL_ERROR, "tls", "TLS failed"},
    {WASI_HTTP_TYPES_ERROR_CODE_TLS_CERTIFICATE_ERROR, "tls",
     "TLS failed: check that its certificate is valid for its name"},
    {WASI_HTTP_TYPES_ERROR_CODE_TLS_ALERT_RECEIVED, "tls", "TLS failed"},
    {WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TERMINATED, "broken", BROKE},
    {WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_INCOMPLETE, "broken", BROKE},
    {WASI_HTTP_TYPES_ERROR_CODE_HTTP_PROTOCOL_ERROR, "broken", "its answer is not valid HTTP"},
    {WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_URI_INVALID, "invalid", NO_URL},
    {WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_URI_TOO_LONG, "invalid", NO_URL},
    {WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_METHOD_INVALID, "invalid",
     "its method cannot be sent"},
};

static hms_outcome failed(const address *to, const wasi_http_types_error_code_t *error) {
    if (error->tag == WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED) {
        return hms_sdk_failed(
            "denied",
            "%s: no grant allows it: ask the operator to add to this window's file in "
            "windows/: %s",
            to->target, grant_of(to));
    }
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].tag != error->tag) continue;
        return hms_sdk_failed(reasons[i].code, "%s: %s", to->target, reasons[i].text);
    }
    if (error->tag == WASI_HTTP_TYPES_ERROR_CODE_INTERNAL_ERROR &&
        error->val.internal_error.is_some) {
        const window_string_t *text = &error->val.internal_error.val;
        return hms_sdk_failed("other", "%s: %.*s", to->target, (int)text->len,
                              (const char *)text->ptr);
    }
    return hms_sdk_failed("other", "%s: the host could not make the call", to->target);
}

static wasi_http_types_method_t method_of(const char *name) {
    static const char *const names[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                        "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    for (uint8_t tag = 0; tag < sizeof names / sizeof *names; tag++) {
        if (strcmp(name, names[tag]) == 0) return (wasi_http_types_method_t){.tag = tag};
    }
    return (wasi_http_types_method_t){.tag = WASI_HTTP_TYPES_METHOD_OTHER,
                                      .val.other = text_of(name)};
}

static bool has_length(const hms_call *call) {
    for (size_t i = 0; i < call->header_count; i++) {
        if (strcasecmp(call->headers[i].name, "content-length") == 0) return true;
    }
    return false;
}

/* The request as the host takes it; false if a part of it cannot be sent. */
static bool build(const hms_call *call, const address *to,
                  wasi_http_types_own_outgoing_request_t *request) {
    wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
    for (size_t i = 0; i < call->header_count; i++) {
        if (!hms_sdk_append(fields, call->headers[i].name, call->headers[i].value)) return false;
    }
    if (call->length > 0 && !has_length(call) &&
        !hms_sdk_append(fields, "content-length", hms_format("%zu", call->length))) {
        return false;
    }
    *request = wasi_http_types_constructor_outgoing_request(fields);
    wasi_http_types_borrow_outgoing_request_t borrowed =
        wasi_http_types_borrow_outgoing_request(*request);
    wasi_http_types_method_t method = method_of(to->method);
    wasi_http_types_scheme_t scheme = {
        .tag = to->tls ? WASI_HTTP_TYPES_SCHEME_HTTPS : WASI_HTTP_TYPES_SCHEME_HTTP,
    };
    window_string_t authority = text_of(to->authority), path = text_of(to->path);
    return wasi_http_types_method_outgoing_request_set_method(borrowed, &method) &&
           wasi_http_types_method_outgoing_request_set_scheme(borrowed, &scheme) &&
           wasi_http_types_method_outgoing_request_set_authority(borrowed, &authority) &&
           wasi_http_types_method_outgoing_request_set_path_with_query(borrowed, &path);
}

static wasi_http_types_own_request_options_t options_of(uint64_t timeout_ms) {
    wasi_http_types_own_request_options_t options = wasi_http_types_constructor_request_options();
    wasi_http_types_borrow_request_options_t borrowed =
        wasi_http_types_borrow_request_options(options);
    wasi_http_types_duration_t limit = timeout_ms * 1000000;
    /* A host that does not know one has a time of its own. */
    wasi_http_types_method_request_options_set_connect_timeout(borrowed, &limit);
    wasi_http_types_method_request_options_set_first_byte_timeout(borrowed, &limit);
    return options;
}

/* Waits for the head of the answer. */
static hms_outcome await(const address *to, wasi_http_types_own_future_incoming_response_t pending,
                         wasi_http_types_own_incoming_response_t *response) {
    wasi_http_types_borrow_future_incoming_response_t borrowed =
        wasi_http_types_borrow_future_incoming_response(pending);
    wasi_io_poll_own_pollable_t pollable =
        wasi_http_types_method_future_incoming_response_subscribe(borrowed);
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(pollable));
    wasi_io_poll_pollable_drop_own(pollable);
    wasi_http_types_result_result_own_incoming_response_error_code_void_t outcome;
    if (!wasi_http_types_method_future_incoming_response_get(borrowed, &outcome) ||
        outcome.is_err) {
        return hms_sdk_failed("other", "%s: the host could not make the call", to->target);
    }
    if (outcome.val.ok.is_err) return failed(to, &outcome.val.ok.val.err);
    *response = outcome.val.ok.val.ok;
    return HMS_OK;
}

static hms_answer *opened(wasi_http_types_own_incoming_response_t response) {
    hms_answer *answer = hms_sdk_room(NULL, sizeof *answer);
    wasi_http_types_borrow_incoming_response_t borrowed =
        wasi_http_types_borrow_incoming_response(response);
    answer->response = response;
    answer->headers = wasi_http_types_method_incoming_response_headers(borrowed);
    wasi_http_types_own_incoming_body_t body;
    answer->ended = !wasi_http_types_method_incoming_response_consume(borrowed, &body) ||
                    !wasi_http_types_method_incoming_body_stream(
                        wasi_http_types_borrow_incoming_body(body), &answer->stream);
    return answer;
}

hms_outcome hms_fetch(const hms_call *call, hms_answer **answer) {
    address to = {.method = call->method == NULL ? "GET" : call->method};
    if (!parse(call->url, &to)) {
        return hms_sdk_failed("invalid", "'%s': a URL begins with https:// and a host", call->url);
    }
    wasi_http_types_own_outgoing_request_t request;
    wasi_http_types_own_outgoing_body_t body;
    if (!build(call, &to, &request) ||
        !wasi_http_types_method_outgoing_request_body(
            wasi_http_types_borrow_outgoing_request(request), &body)) {
        return hms_sdk_failed("invalid", "%s: its URL, its method or a header cannot be sent",
                              to.target);
    }
    wasi_http_outgoing_handler_own_request_options_t options;
    if (call->timeout_ms != 0) options = options_of(call->timeout_ms);
    wasi_http_types_own_future_incoming_response_t pending;
    wasi_http_types_error_code_t error;
    if (!wasi_http_outgoing_handler_handle(request, call->timeout_ms == 0 ? NULL : &options,
                                           &pending, &error)) {
        return failed(&to, &error);
    }
    wasi_io_streams_own_output_stream_t stream;
    if (call->length > 0 && wasi_http_types_method_outgoing_body_write(
                                wasi_http_types_borrow_outgoing_body(body), &stream)) {
        /* Of a body that is not taken the answer says why. */
        hms_sdk_write(stream, call->body, call->length);
        wasi_io_streams_output_stream_drop_own(stream);
    }
    wasi_http_types_static_outgoing_body_finish(body, NULL, &error);
    wasi_http_types_own_incoming_response_t response;
    if (await(&to, pending, &response) != HMS_OK) return HMS_FAILED;
    *answer = opened(response);
    return HMS_OK;
}

int hms_answer_status(const hms_answer *answer) {
    return wasi_http_types_method_incoming_response_status(
        wasi_http_types_borrow_incoming_response(answer->response));
}

const char *hms_answer_header(const hms_answer *answer, const char *name) {
    window_string_t asked = text_of(name);
    wasi_http_types_list_field_value_t values;
    wasi_http_types_method_fields_get(wasi_http_types_borrow_fields(answer->headers), &asked,
                                      &values);
    return values.len == 0 ? NULL : hms_sdk_text(values.ptr[0].ptr, values.ptr[0].len);
}

hms_outcome hms_answer_read(hms_answer *answer, void *buffer, size_t size, size_t *length) {
    return hms_sdk_read(answer->stream, &answer->ended, buffer, size, length);
}

hms_outcome hms_answer_body(hms_answer *answer, size_t limit, const char **body, size_t *length) {
    char *all = NULL;
    size_t room = 0, used = 0, read;
    for (;;) {
        if (used == room) {
            room = hms_sdk_more(room);
            char *more = realloc(all, room + 1);
            if (more == NULL)
                return hms_sdk_failed("limit", "the answer takes more memory than there is");
            all = more;
        }
        hms_outcome outcome = hms_answer_read(answer, all + used, room - used, &read);
        used += read;
        if (outcome == HMS_FAILED) return HMS_FAILED;
        if (used > limit)
            return hms_sdk_failed("limit", "the answer has more than %zu bytes", limit);
        if (outcome == HMS_NONE) break;
    }
    all[used] = 0;
    *body = all;
    if (length != NULL) *length = used;
    return HMS_OK;
}

void hms_fetch_problem(hms_response *response) {
    if (hms_error_is("denied") || hms_error_is("invalid")) {
        hms_internal(response, hms_error());
        return;
    }
    hms_log("%s", hms_error());
    if (hms_error_is("timeout")) {
        hms_problem(response, 504, "service-timeout",
                    "a service that this needs did not answer in time; retry later");
    } else if (hms_error_is("limit")) {
        hms_set_header(response, "retry-after", "2");
        hms_problem(response, 503, "service-limit", "too much is going on; retry shortly");
    } else if (hms_error_is("loop")) {
        hms_problem(response, 508, "loop-detected", "services call each other in a loop");
    } else {
        hms_problem(response, 502, "service-failed",
                    "a service that this needs is not available; retry later");
    }
}
