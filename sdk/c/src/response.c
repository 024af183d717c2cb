/* What an answer says. */
#include <stdio.h>
#include <strings.h>

#include "internal.h"

void hms_respond(hms_response *response, int status, const char *content_type, const void *body,
                 size_t length) {
    response->passed = false;
    response->status = status;
    response->content_type = content_type;
    response->body = body;
    response->length = length;
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

static bool has(const hms_response *response, const char *name) {
    for (size_t i = 0; i < response->headers; i++) {
        if (response->values[i] != NULL && strcasecmp(response->names[i], name) == 0) return true;
    }
    return false;
}

const hms_attribute *hms_sdk_headers(const hms_response *response, bool whole) {
    hms_attribute *all = hms_sdk_room(NULL, (MAX_HEADERS + 3) * sizeof *all), *end = all;
    bool has_body = response->status != 204 && response->status != 304;
    if (whole && has_body && !has(response, "content-length"))
        *end++ = (hms_attribute){"content-length", hms_format("%zu", response->length)};
    if (response->content_type != NULL)
        *end++ = (hms_attribute){"content-type", response->content_type};
    for (size_t i = 0; i < response->headers; i++)
        *end++ = (hms_attribute){response->names[i], response->values[i]};
    *end = (hms_attribute){NULL, NULL};
    return all;
}

uint16_t hms_sdk_status(const hms_response *response) {
    if (response->status >= 200 && response->status <= 599) return (uint16_t)response->status;
    hms_log("the status %d cannot be sent", response->status);
    return 500;
}

void hms_break_off(hms_response *response) { response->broken = true; }

/* `text` as it stands in a JSON text. */
static const char *escaped(const char *text) {
    char *all = hms_sdk_room(NULL, 6 * strlen(text) + 1), *end = all;
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') *end++ = '\\';
        if (byte < 0x20) end += sprintf(end, "\\u%04x", byte);
        else *end++ = (char)byte;
    }
    *end = 0;
    hms_sdk_make_utf8(all, (size_t)(end - all));
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
        case 412: return "Precondition Failed";
        case 413: return "Payload Too Large";
        case 422: return "Unprocessable Entity";
        case 429: return "Too Many Requests";
        case 500: return "Internal Server Error";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 507: return "Insufficient Storage";
        case 508: return "Loop Detected";
        default: return "Problem";
    }
}

void hms_problem(hms_response *response, int status, const char *code, const char *detail) {
    const char *sent = hms_header(response->request, "x-request-id");
    const char *id = sent == NULL ? "" : escaped(sent);
    const char *json = hms_format(
        "{\"type\":\"urn:hms:problem:%s\",\"title\":\"%s\",\"status\":%d,"
        "\"detail\":\"%s\"%s%s%s}",
        code, title_of(status), status, escaped(detail), *id == 0 ? "" : ",\"request-id\":\"", id,
        *id == 0 ? "" : "\"");
    hms_respond(response, status, "application/problem+json", json, strlen(json));
}

void hms_bad_request(hms_response *response, const char *detail) {
    hms_problem(response, 400, "bad-request", detail);
}

void hms_not_found(hms_response *response) { hms_problem(response, 404, "not-found", "not found"); }

void hms_method_not_allowed(hms_response *response, const char *allow) {
    hms_set_header(response, "allow", allow);
    hms_problem(response, 405, "method-not-allowed", hms_format("allowed methods: %s", allow));
}

void hms_unauthorized(hms_response *response) {
    hms_set_header(response, "www-authenticate", "Bearer realm=\"hms\"");
    hms_problem(response, 401, "unauthorized",
                "authentication required: send a token as 'Authorization: Bearer TOKEN'");
}

void hms_internal(hms_response *response, const char *cause) {
    hms_log("internal error: %s", cause);
    hms_problem(response, 500, "internal",
                "internal error; the window's log has the cause under this request ID");
}
