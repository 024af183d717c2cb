/* The payments window, in C: what `components/payments` does without a card.
 *
 *     POST /payments          {"amount": 42, "purpose": "FOIA copy fee"}   ->  201 {"id"}
 *     GET  /payments/{id}     {"id", "amount", "purpose", "owner"}         its owner's only
 *     GET  /payments          {"payments": [...], "next"}     ?limit=&cursor=, the oldest first
 *
 * A payment is written together with the event that tells of it, `gov.payment.paid.v1`. */
#include <hms_json.h>
#include <string.h>

#define PAGE 50
#define PAGE_MAX 200

/* Bytes of a payment as JSON. An event has room for 64 KiB. */
const size_t hms_body_limit = 60 * 1024;

/* Members that are this window's words and not the client's. */
static const char *const ours[] = {"id", "owner", "status", "charge"};

/* A payment, and the event that tells of it. */
typedef struct {
    const char *id, *part;
    const char *text, *told;
    size_t length, told_length;
} payment;

static bool is_ours(const char *name) {
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (strcmp(name, ours[i]) == 0) return true;
    }
    return false;
}

/* A payment needs an amount that is a number and not negative; JSON has finite ones only. */
static const char *fault_of(yyjson_val *form) {
    yyjson_val *amount = yyjson_obj_get(form, "amount");
    if (amount == NULL) return "'amount' is missing";
    if (!yyjson_is_num(amount)) return "'amount' is not a number";
    if (yyjson_get_num(amount) < 0) return "'amount' is negative";
    return NULL;
}

/* What the client has said, with our own words about it. */
static bool write(yyjson_val *form, const char *user, payment *payment) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "id", payment->id);
    yyjson_obj_iter members = yyjson_obj_iter_with(form);
    yyjson_val *name;
    while ((name = yyjson_obj_iter_next(&members)) != NULL) {
        if (is_ours(yyjson_get_str(name))) continue;
        yyjson_val *value = yyjson_obj_iter_get_val(name);
        yyjson_mut_obj_put(root, yyjson_val_mut_copy(doc, name), yyjson_val_mut_copy(doc, value));
    }
    yyjson_mut_obj_add_str(doc, root, "owner", user);
    payment->text = hms_json_text(doc, &payment->length);
    const char *currency = hms_config("currency");
    if (currency != NULL) {
        yyjson_mut_obj_put(root, yyjson_mut_str(doc, "currency"), yyjson_mut_str(doc, currency));
    }
    payment->told = hms_json_text(doc, &payment->told_length);
    return payment->text != NULL && payment->told != NULL;
}

static bool pay(hms_tx *tx, void *data) {
    const payment *payment = data;
    hms_tx_set(tx, payment->part, payment->id, payment->text, payment->length);
    hms_tx_emit(tx, &(hms_event){.type = "gov.payment.paid.v1",
                                 .subject = payment->id,
                                 .data = payment->told,
                                 .length = payment->told_length});
    return true;
}

static void take(const hms_request *request, hms_response *response, const char *part) {
    yyjson_val *form = hms_body_object(request, response);
    if (form == NULL) return;
    const char *fault = fault_of(form);
    if (fault != NULL) {
        hms_bad_request(response, fault);
        return;
    }
    payment payment = {.id = hms_new_id(), .part = part};
    if (!write(form, hms_user(request), &payment)) {
        hms_internal(response, hms_error());
    } else if (hms_transaction(pay, &payment, NULL) != HMS_OK) {
        hms_store_problem(response);
    } else {
        const char *path = hms_format("/payments/%s", payment.id);
        hms_set_header(response, "location", hms_public_path(request, path));
        hms_json(response, 201, hms_format("{\"id\":\"%s\"}", payment.id));
    }
}

static void show(hms_response *response, const char *part, const char *id) {
    const char *text;
    size_t length;
    switch (hms_get(part, id, &text, &length)) {
        case HMS_OK: hms_respond(response, 200, "application/json", text, length); break;
        case HMS_NONE: hms_not_found(response); break;
        case HMS_FAILED: hms_store_problem(response); break;
    }
}

static void list(const hms_request *request, hms_response *response, const char *part) {
    int64_t limit = PAGE;
    if (!hms_param_number(request, response, "limit", &limit)) return;
    limit = limit < 1 ? 1 : limit > PAGE_MAX ? PAGE_MAX : limit;
    hms_json_page(response, "payments", part, hms_param(request, "cursor"), (size_t)limit);
}

void hms_handle(const hms_request *request, hms_response *response) {
    const char *method = hms_method(request), *part = hms_user_part(request, "payments");
    bool all = hms_at(request, "/payments"), one = hms_at(request, "/payments/*");
    bool get = strcmp(method, "GET") == 0;
    if (!all && !one) hms_not_found(response);
    else if (!get && one) hms_method_not_allowed(response, "GET, HEAD");
    else if (!get && strcmp(method, "POST") != 0)
        hms_method_not_allowed(response, "GET, HEAD, POST");
    else if (part == NULL) hms_unauthorized(response);
    else if (one) show(response, part, hms_segment(request, 1));
    else if (get) list(request, response, part);
    else take(request, response, part);
}
