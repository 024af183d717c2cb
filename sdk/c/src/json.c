/* JSON of requests, answers and the store, by yyjson. */
#include "hms_json.h"

#include "internal.h"

/* Whether a text of it has a zero character, behind which a text in C ends. */
static bool has_zero(const char *json) {
    for (json = strchr(json, '\\'); json != NULL; json = strchr(json + 2, '\\')) {
        if (strncmp(json, "\\u0000", 6) == 0) return true;
    }
    return false;
}

yyjson_val *hms_body_json(const hms_request *request, hms_response *response) {
    yyjson_read_err error;
    yyjson_doc *doc = yyjson_read_opts(request->body, request->length, 0, NULL, &error);
    if (error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
        hms_problem(response, 413, "body-too-large",
                    "the JSON of the body takes more memory than there is");
        return NULL;
    }
    if (doc == NULL) {
        hms_bad_request(response,
                        hms_format("the body is not JSON: %s at byte %zu", error.msg, error.pos));
        return NULL;
    }
    if (has_zero(request->body)) {
        hms_bad_request(response, "a text of the body has a zero character (\\u0000)");
        return NULL;
    }
    return yyjson_doc_get_root(doc);
}

yyjson_val *hms_body_object(const hms_request *request, hms_response *response) {
    yyjson_val *form = hms_body_json(request, response);
    if (form == NULL || yyjson_is_obj(form)) return form;
    hms_bad_request(response, "the body is not a JSON object");
    return NULL;
}

const char *hms_json_text(yyjson_mut_doc *doc, size_t *length) {
    yyjson_write_err error;
    const char *text = yyjson_mut_write_opts(doc, 0, NULL, length, &error);
    if (text == NULL) hms_sdk_failed("invalid", "it cannot be written as JSON: %s", error.msg);
    return text;
}

void hms_json_doc(hms_response *response, int status, yyjson_mut_doc *doc) {
    size_t length;
    const char *text = hms_json_text(doc, &length);
    if (text == NULL) {
        hms_internal(response, hms_error());
    } else {
        hms_respond(response, status, "application/json", text, length);
    }
}

hms_outcome hms_get_json(const char *part, const char *key, yyjson_val **value) {
    const char *text;
    size_t length;
    hms_outcome outcome = hms_get(part, key, &text, &length);
    return outcome == HMS_OK ? hms_parsed(key, text, length, value) : outcome;
}

hms_outcome hms_parsed(const char *key, const void *text, size_t length, yyjson_val **value) {
    yyjson_read_err error;
    /* yyjson does not write into what it reads, unless it is told so. */
    yyjson_doc *doc = yyjson_read_opts((char *)text, length, 0, NULL, &error);
    if (doc == NULL)
        return hms_sdk_failed("other", "the value of '%s' is not JSON: %s", key, error.msg);
    *value = yyjson_doc_get_root(doc);
    return HMS_OK;
}

yyjson_mut_val *hms_json_values(yyjson_mut_doc *doc, const char *part, const hms_page *page) {
    if (page->count == 0) return yyjson_mut_arr(doc);
    hms_entry *found = hms_sdk_room(NULL, page->count * sizeof *found);
    if (hms_get_many(part, page->keys, page->count, found) != HMS_OK) return NULL;
    yyjson_mut_val *values = yyjson_mut_arr(doc);
    for (size_t i = 0; i < page->count; i++) {
        if (found[i].value == NULL) continue;
        yyjson_mut_arr_append(values, yyjson_mut_rawn(doc, found[i].value, found[i].length));
    }
    return values;
}

void hms_json_page(hms_response *response, const char *name, const char *part, const char *cursor,
                   size_t limit) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    hms_page page;
    yyjson_mut_val *values = NULL;
    if (hms_list(part, cursor, limit, &page) == HMS_OK) values = hms_json_values(doc, part, &page);
    if (values == NULL) {
        hms_store_problem(response);
        return;
    }
    yyjson_mut_obj_add_val(doc, root, name, values);
    if (page.next == NULL) yyjson_mut_obj_add_null(doc, root, "next");
    else yyjson_mut_obj_add_str(doc, root, "next", page.next);
    hms_json_doc(response, 200, doc);
}

hms_outcome hms_set_json(const char *part, const char *key, yyjson_mut_doc *doc) {
    size_t length;
    const char *text = hms_json_text(doc, &length);
    return text == NULL ? HMS_FAILED : hms_set(part, key, text, length);
}
