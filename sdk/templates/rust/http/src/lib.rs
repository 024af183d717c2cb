//! The window {{name}}.
//!
//!     GET /{{name}}          a greeting; ?name= says for whom
//!     GET /{{name}}/time     {"milliseconds": …}, since 1970

use hms_window::{Method, Problem, Request, Response, now_ms, window};
use serde_json::json;

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::GET, ["{{name}}"]) => greet(&request),
        (&Method::GET, ["{{name}}", "time"]) => {
            Ok(Response::json(200, &json!({ "milliseconds": now_ms() })))
        }
        (_, ["{{name}}"] | ["{{name}}", "time"]) => Err(Problem::method_not_allowed("GET, HEAD")),
        _ => Err(Problem::not_found()),
    }
}

fn greet(request: &Request) -> Result<Response, Problem> {
    let name: Option<String> = request.param("name")?;
    Ok(Response::text(200, greeting(name.as_deref())))
}

fn greeting(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("hello {name}\n"),
        None => "hello from {{name}}\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::greeting;

    #[test]
    fn greeting_names_whom_it_greets() {
        assert_eq!(greeting(Some("alice")), "hello alice\n");
    }
}
