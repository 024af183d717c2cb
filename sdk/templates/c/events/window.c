/* The window {{name}}: it takes orders, tells of them by events, and counts what it hears of.
 *
 *     POST /{{name}}   {"item", "count"}  ->  201 {"id"}, and an event {{name}}.ordered.v1
 *     GET  /{{name}}   {"ITEM": count, ...}
 *     POST /events     where the host delivers: see windows/{{name}}.yaml */
#include <hms_json.h>
#include <string.h>

/* The type of the event. Its last part is the version of its data. */
#define ORDERED "{{name}}.ordered.v1"

/* Bytes of an item: it is a key of the store. */
#define MAX_ITEM 200

typedef struct {
    const char *id;
    const char *item;
    int64_t count;
    /* The order as JSON. */
    const char *json;
    size_t length;
    /* Of one that was heard of. */
    const char *once_key;
} order;

/* What is wrong with an order, or NULL. */
static const char *read(yyjson_val *value, order *order) {
    yyjson_val *count = yyjson_obj_get(value, "count");
    order->item = yyjson_get_str(yyjson_obj_get(value, "item"));
    order->count = yyjson_get_sint(count);
    if (order->item == NULL || *order->item == 0) return "'item' is missing, or no text";
    if (strlen(order->item) > MAX_ITEM) return "'item' is too long";
    if (!yyjson_is_int(count)) return "'count' is missing, or no whole number";
    return NULL;
}

/* The order and its event are written together: there is never one without the other. */
static bool write(hms_tx *tx, void *data) {
    const order *order = data;
    hms_tx_set(tx, "orders", order->id, order->json, order->length);
    hms_tx_emit(
        tx,
        &(hms_event){
            .type = ORDERED, .subject = order->id, .data = order->json, .length = order->length});
    return true;
}

static void take(const hms_request *request, hms_response *response) {
    yyjson_val *form = hms_body_json(request, response);
    if (form == NULL) return;
    order order = {.id = hms_new_id()};
    const char *fault = read(form, &order);
    if (fault != NULL) {
        hms_bad_request(response, fault);
        return;
    }
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "item", order.item);
    yyjson_mut_obj_add_int(doc, root, "count", order.count);
    order.json = hms_json_text(doc, &order.length);
    if (hms_transaction(write, &order, NULL) != HMS_OK) hms_store_problem(response);
    else hms_json(response, 201, hms_format("{\"id\":\"%s\"}", order.id));
}

static bool add(hms_tx *tx, void *data) {
    const order *order = data;
    hms_tx_once(tx, order->once_key);
    hms_tx_increment(tx, "counts", order->item, order->count);
    return true;
}

/* An event comes at least once. `once` makes its effect happen once. */
static void receive(const hms_request *request, hms_response *response) {
    hms_received event;
    if (!hms_receive(request, response, &event)) return;
    yyjson_val *value = NULL;
    order order = {.once_key = event.once_key};
    const char *fault = hms_parsed(event.id, event.data, event.length, &value) == HMS_OK
                            ? read(value, &order)
                            : "the data of the event are not JSON";
    /* What would never succeed is rejected: a person has to look at it. */
    if (fault != NULL) hms_reject(response, fault);
    else if (hms_transaction(add, &order, NULL) != HMS_OK) hms_store_problem(response);
    else hms_respond(response, 204, NULL, NULL, 0);
}

/* All items, a page of keys at a time. */
static void counts(hms_response *response) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    hms_page page = {0};
    do {
        hms_entry found[100];
        if (hms_list("counts", page.next, 100, &page) != HMS_OK ||
            hms_get_many("counts", page.keys, page.count, found) != HMS_OK) {
            hms_store_problem(response);
            return;
        }
        for (size_t i = 0; i < page.count; i++) {
            yyjson_mut_val *name = yyjson_mut_str(doc, found[i].key);
            if (found[i].value == NULL) continue;
            yyjson_mut_obj_add(root, name, yyjson_mut_rawn(doc, found[i].value, found[i].length));
        }
    } while (page.next != NULL);
    hms_json_doc(response, 200, doc);
}

void hms_handle(const hms_request *request, hms_response *response) {
    bool post = strcmp(hms_method(request), "POST") == 0,
         get = strcmp(hms_method(request), "GET") == 0;
    /* No route leads here: only the host reaches it. */
    if (post && hms_at(request, "/events")) receive(request, response);
    else if (!hms_at(request, "/{{name}}")) hms_not_found(response);
    else if (post) take(request, response);
    else if (get) counts(response);
    else hms_method_not_allowed(response, "GET, HEAD, POST");
}
