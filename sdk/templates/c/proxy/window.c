/* The window {{name}}: it asks a service for exchange rates, and keeps each for a minute.
 *
 *     GET /{{name}}              {"rates": [...]}, those that it has asked for
 *     GET /{{name}}/{currency}   {"currency", "rate", "at"}
 *
 * Which service is said in windows/{{name}}.yaml, twice: as `rates-url`, which this code reads, and
 * as what the window may call. */
#include <hms_fetch.h>
#include <hms_json.h>
#include <string.h>

/* How long a rate is good, in milliseconds. */
#define FRESH_MS 60000
/* Bytes of an answer of the service. */
#define ANSWER_MAX 65536
/* Rates in the list: there are not as many currencies. */
#define MOST 500

static bool is_currency(const char *text) {
    return strlen(text) == 3 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}

/* False if there is no rate: then there is an answer. */
static bool ask(const char *currency, hms_response *response, double *rate) {
    const char *url = hms_config("rates-url"), *body;
    if (url == NULL) {
        hms_internal(response, "no rates-url is configured: see windows/{{name}}.yaml");
        return false;
    }
    hms_answer *answer;
    size_t length;
    hms_call call = {.url = hms_format("%s/v1/rates/%s", url, currency), .timeout_ms = 3000};
    if (hms_fetch(&call, &answer) != HMS_OK) {
        /* The log has where it went, and of a denied call what to grant. The client needs neither.
         */
        bool slow = hms_error_is("timeout");
        if (slow) hms_log("%s", hms_error());
        if (slow) hms_problem(response, 504, "rates-slow", "try again later");
        else hms_fetch_problem(response);
        return false;
    }
    int status = hms_answer_status(answer);
    if (status == 404) {
        hms_not_found(response);
        return false;
    }
    yyjson_val *value = NULL;
    if (status != 200) hms_log("rates: the service answered %d", status);
    else if (hms_answer_body(answer, ANSWER_MAX, &body, &length) != HMS_OK)
        hms_log("rates: %s", hms_error());
    else if (hms_parsed(currency, body, length, &value) != HMS_OK)
        hms_log("rates: %s", hms_error());
    yyjson_val *found = yyjson_obj_get(value, "rate");
    if (!yyjson_is_num(found)) {
        hms_problem(response, 502, "rates-unavailable", "the rates are not available now");
        return false;
    }
    *rate = yyjson_get_num(found);
    return true;
}

static void list(hms_response *response) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    hms_page page;
    yyjson_mut_val *rates = NULL;
    if (hms_list("rates", NULL, MOST, &page) == HMS_OK)
        rates = hms_json_values(doc, "rates", &page);
    if (rates == NULL) {
        hms_store_problem(response);
        return;
    }
    yyjson_mut_obj_add_val(doc, root, "rates", rates);
    hms_json_doc(response, 200, doc);
}

static void show(hms_response *response, const char *currency) {
    yyjson_val *known;
    hms_outcome outcome = hms_get_json("rates", currency, &known);
    if (outcome == HMS_FAILED) {
        hms_store_problem(response);
        return;
    }
    uint64_t now = hms_now_ms();
    if (outcome == HMS_OK && yyjson_get_uint(yyjson_obj_get(known, "at")) + FRESH_MS > now) {
        hms_json(response, 200, yyjson_val_write(known, 0, NULL));
        return;
    }
    double rate;
    if (!ask(currency, response, &rate)) return;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "currency", currency);
    yyjson_mut_obj_add_real(doc, root, "rate", rate);
    yyjson_mut_obj_add_uint(doc, root, "at", hms_now_ms());
    if (hms_set_json("rates", currency, doc) != HMS_OK) hms_store_problem(response);
    else hms_json_doc(response, 200, doc);
}

void hms_handle(const hms_request *request, hms_response *response) {
    const char *currency = hms_segment(request, 1);
    bool all = hms_at(request, "/*");
    if (!all && !hms_at(request, "/*/*")) hms_not_found(response);
    else if (strcmp(hms_method(request), "GET") != 0) hms_method_not_allowed(response, "GET, HEAD");
    else if (all) list(response);
    else if (!is_currency(currency))
        hms_bad_request(response, "a currency has three capital letters, such as CHF");
    else show(response, currency);
}
