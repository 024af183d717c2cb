/* A window that names the parts of its work, which `hms requests ID` shows. */
#include <hms_window.h>
#include <string.h>

static bool worked(hms_tx *tx, void *data) {
    (void)data;
    hms_tx_set(tx, "work", "worked", "1", 1);
    return true;
}

static void work(hms_response *response) {
    uint32_t whole = hms_span_begin("the whole work");
    hms_outcome outcome = hms_transaction(worked, NULL, NULL);
    hms_span_end(hms_span_begin("what fails"), true);
    hms_span_end(whole, outcome == HMS_FAILED);
    if (outcome == HMS_FAILED) hms_store_problem(response);
    else hms_text(response, 200, "done\n");
}

void hms_handle(const hms_request *request, hms_response *response) {
    if (!hms_at(request, "/work")) hms_not_found(response);
    else if (strcmp(hms_method(request), "POST") != 0) hms_method_not_allowed(response, "POST");
    else work(response);
}
