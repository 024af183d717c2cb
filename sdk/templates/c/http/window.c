/* The window {{name}}.
 *
 *     GET /{{name}}    a greeting */
#include <hms_window.h>
#include <string.h>

void hms_handle(const hms_request *request, hms_response *response) {
    if (strcmp(hms_path(request), "/{{name}}") != 0) {
        hms_not_found(response);
    } else if (strcmp(hms_method(request), "GET") != 0) {
        hms_method_not_allowed(response, "GET, HEAD");
    } else {
        hms_text(response, 200, "hello from {{name}}\n");
    }
}
