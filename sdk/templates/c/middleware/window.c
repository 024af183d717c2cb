/* The middleware {{name}}: it asks for a reason where something is deleted, keeps who changed what,
 * and adds a header to the answer. It stands in every route with `- wasm: {window: {{name}}}`. */
#include <hms_json.h>
#include <hms_middleware.h>
#include <string.h>

static void keep(const hms_request *request, hms_response *response) {
    yyjson_mut_doc *change = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(change);
    yyjson_mut_doc_set_root(change, root);
    yyjson_mut_obj_add_str(change, root, "user", hms_user(request));
    yyjson_mut_obj_add_str(change, root, "method", hms_method(request));
    yyjson_mut_obj_add_str(change, root, "path", hms_path(request));
    yyjson_mut_obj_add_str(change, root, "reason", hms_header(request, "x-reason"));
    yyjson_mut_obj_add_uint(change, root, "at", hms_now_ms());
    yyjson_mut_obj_add_int(change, root, "status", hms_next_status(response));
    const char *id = hms_new_id();
    if (hms_set_json("changes", id, change) != HMS_OK) hms_store_problem(response);
    else hms_set_header(response, "x-change", id);
}

void hms_handle(const hms_request *request, hms_response *response) {
    const char *method = hms_method(request);
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "OPTIONS") == 0;
    if (strcmp(method, "DELETE") == 0 && hms_header(request, "x-reason") == NULL)
        hms_bad_request(response, "say why it is deleted, in the header x-reason");
    /* Bodies stream through, in both directions. */
    else if (hms_next(request, response) && !reads) keep(request, response);
}
