/* JSON, by yyjson (https://ibireme.github.io/yyjson/doc/doxygen/html/): `yyjson_val` is read,
 * `yyjson_mut_doc` is written. As with all else, free nothing. */
#ifndef HMS_JSON_H
#define HMS_JSON_H

#include "hms_window.h"
#include "yyjson.h"

/* The body as JSON, whatever its content type; NULL if it is not JSON: the answer is a 400. */
yyjson_val *hms_body_json(const hms_request *request, hms_response *response);
/* The same, and a 400 if it is not an object. */
yyjson_val *hms_body_object(const hms_request *request, hms_response *response);

/* An answer. */
void hms_json_doc(hms_response *response, int status, yyjson_mut_doc *doc);
/* The document as a text, NULL and hms_error() if it has what is no JSON, such as a text that is
 * not UTF-8. */
const char *hms_json_text(yyjson_mut_doc *doc, size_t *length);

/* A value of the store. */
hms_outcome hms_get_json(const char *part, const char *key, yyjson_val **value);
hms_outcome hms_set_json(const char *part, const char *key, yyjson_mut_doc *doc);
/* The values at the keys of a page, as an array; those that are gone meanwhile are left out. NULL:
 * the store failed. */
yyjson_mut_val *hms_json_values(yyjson_mut_doc *doc, const char *part, const hms_page *page);
/* Answers with a page of values, by hms_list(): {"NAME": [...], "next": CURSOR}, or with the
 * problem of the store. */
void hms_json_page(hms_response *response, const char *name, const char *part, const char *cursor,
                   size_t limit);
/* The value of a key, which was read by another function. */
hms_outcome hms_parsed(const char *key, const void *text, size_t length, yyjson_val **value);

#endif
