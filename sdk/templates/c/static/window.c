/* The window {{name}}: the site in `site`, whose files are in the component. */
#include <hms_site.h>

void hms_handle(const hms_request *request, hms_response *response) {
    /* For an application that has its own paths in the browser, the last is
     * &(hms_site_options){.single_page = true}. */
    hms_site(request, response, &hms_site_files, NULL);
}
