/* The window {{name}}.
 *
 *     GET /{{name}}          a greeting; ?name= says for whom
 *     GET /{{name}}/time     {"milliseconds": ...}, since 1970 */
#include <hms_window.h>
#include <string.h>

static void greet(const hms_request *request, hms_response *response) {
    const char *name = hms_param(request, "name");
    if (name == NULL || *name == 0) hms_text(response, 200, "hello from {{name}}\n");
    else hms_text(response, 200, hms_format("hello %s\n", name));
}

static void tell_time(hms_response *response) {
    unsigned long long now = hms_now_ms();
    hms_json(response, 200, hms_format("{\"milliseconds\":%llu}", now));
}

void hms_handle(const hms_request *request, hms_response *response) {
    bool is_time = hms_at(request, "/{{name}}/time");
    if (!is_time && !hms_at(request, "/{{name}}")) hms_not_found(response);
    else if (strcmp(hms_method(request), "GET") != 0) hms_method_not_allowed(response, "GET, HEAD");
    else if (is_time) tell_time(response);
    else greet(request, response);
}
