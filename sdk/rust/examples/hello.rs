//! A window that greets, and counts its greetings.
//!
//! ```sh
//! cargo rustc --release --target wasm32-wasip2 --example hello --crate-type cdylib
//! hms deploy target/wasm32-wasip2/release/examples/hello.wasm
//! ```

use hms_window::{Method, Problem, Request, Response, Store, window};

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::GET, ["hello", name]) => {
            let count = Store::open("greetings")?.increment(name, 1)?;
            let text = format!("hello {name}: greeting {count}\n");
            Ok(Response::text(200, text))
        }
        (_, ["hello", _]) => Err(Problem::method_not_allowed("GET, HEAD")),
        _ => Err(Problem::not_found()),
    }
}
