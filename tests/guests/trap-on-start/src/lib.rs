//! A window that traps as soon as it is instantiated: well-formed, of the right world, and of no
//! use.

use hms_window::{Problem, Request, Response, window};

window!(handle);

async fn handle(_request: Request) -> Result<Response, Problem> {
    Ok(Response::text(200, "this cannot be\n"))
}

extern "C" fn start() {
    panic!("a trap on start, as built")
}

// SAFETY: the section is a list of pointers to functions of this very type, which run on
// instantiation.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;
