/* The window visits: it counts how often it was asked.
 *
 *     GET  /visits    {"visits": 3}
 *     POST /visits    counts one more */
#include <hms_window.h>
#include <stdio.h>
#include <string.h>

void hms_handle(const hms_request *request, hms_response *response) {
    if (strcmp(hms_path(request), "/visits") != 0) {
        hms_not_found(response);
        return;
    }
    int64_t by = strcmp(hms_method(request), "POST") == 0;
    if (!by && strcmp(hms_method(request), "GET") != 0) {
        hms_method_not_allowed(response, "GET, HEAD, POST");
        return;
    }
    int64_t visits;
    if (hms_increment("visits", "count", by, &visits) != HMS_OK) {
        hms_store_problem(response);
        return;
    }
    static char json[64];
    snprintf(json, sizeof json, "{\"visits\":%lld}", (long long)visits);
    hms_json(response, 200, json);
}
