//! A window that imports an interface that no host has. It must be refused, with the name of the
//! import.

use hms_window::{Problem, Request, Response, window};

wasip3::wit_bindgen::generate!({
    inline: "
        package acme:secret@1.2.3;
        interface vault { open: func(name: string) -> string; }
        world thief { import vault; }
    ",
    runtime_path: "wasip3::wit_bindgen::rt",
});

window!(handle);

async fn handle(_request: Request) -> Result<Response, Problem> {
    Ok(Response::text(200, acme::secret::vault::open("gold")))
}
