//! A static site: see `site!` of the SDK.

use hms_window::{Problem, Request, Response, site, site::Site, window};

window!(handle);

static SITE: Site = site!("dist");

async fn handle(request: Request) -> Result<Response, Problem> {
    SITE.answer(&request)
}
