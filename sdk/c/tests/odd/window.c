/* A window that is sent what nobody means. Each answer is what it says or a clear refusal: nothing
 * ends the instance. */
#include <hms_json.h>
#include <string.h>

/* Nearly as much as the gateway takes. */
const size_t hms_body_limit = 24u << 20;

/* The body, as it came. */
static void echo(const hms_request *request, hms_response *response) {
    size_t length;
    const char *body = hms_body(request, &length);
    hms_respond(response, 200, "application/octet-stream", body, length);
}

/* A JSON document of what the request says. */
static void told(const hms_request *request, hms_response *response) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "method", hms_method(request));
    yyjson_mut_obj_add_str(doc, root, "path", hms_path(request));
    yyjson_mut_obj_add_str(doc, root, "query", hms_query(request));
    yyjson_mut_obj_add_str(doc, root, "last", hms_segment(request, 2));
    yyjson_mut_obj_add_str(doc, root, "name", hms_param(request, "name"));
    yyjson_mut_obj_add_str(doc, root, "header", hms_header(request, "x-odd"));
    yyjson_mut_obj_add_int(doc, root, "condition", hms_condition(request, "\"7\""));
    if (hms_set_json("told", "last", doc) != HMS_OK) hms_store_problem(response);
    else hms_json_doc(response, 200, doc);
}

static void json(const hms_request *request, hms_response *response) {
    yyjson_val *body = hms_body_json(request, response);
    if (body != NULL) hms_json(response, 200, yyjson_val_write(body, 0, NULL));
}

/* GET, PUT and DELETE of a key in a part. */
static void keep(const hms_request *request, hms_response *response) {
    const char *part = hms_segment(request, 2), *key = hms_segment(request, 3), *value;
    const char *method = hms_method(request);
    size_t length;
    hms_outcome outcome;
    if (strcmp(method, "PUT") == 0) {
        value = hms_body(request, &length);
        outcome = hms_set(part, key, value, length);
    } else if (strcmp(method, "DELETE") == 0) {
        outcome = hms_delete(part, key);
    } else {
        outcome = hms_get(part, key, &value, &length);
    }
    if (outcome == HMS_NONE) hms_not_found(response);
    else if (outcome == HMS_FAILED && hms_error_is("invalid"))
        hms_bad_request(response, hms_error());
    else if (outcome == HMS_FAILED) hms_store_problem(response);
    else if (strcmp(method, "GET") == 0) hms_respond(response, 200, "text/plain", value, length);
    else hms_respond(response, 204, NULL, NULL, 0);
}

void hms_handle(const hms_request *request, hms_response *response) {
    if (hms_at(request, "/c-odd/echo")) echo(request, response);
    else if (hms_at(request, "/c-odd/json")) json(request, response);
    else if (hms_at(request, "/c-odd/keep/*/*")) keep(request, response);
    else if (hms_at(request, "/c-odd/cookie")) {
        hms_set_header(response, "x-split", "a\r\nx-forged: 1");
        hms_set_header(response, "bad name", "1");
        hms_set_header(response, "connection", "close");
        hms_set_header(response, "content-length", NULL);
        hms_set_header(response, "x-good", "1");
        hms_text(response, 999, "content");
    } else told(request, response);
}
