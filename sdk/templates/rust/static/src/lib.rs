//! The window {{name}}: the site in `dist`, whose files are in the component.

use hms_window::{Problem, Request, Response, site, site::Site, window};

window!(handle);

// For an application that has its own paths in the browser: site!("dist").single_page()
static SITE: Site = site!("dist");

async fn handle(request: Request) -> Result<Response, Problem> {
    SITE.answer(&request)
}
