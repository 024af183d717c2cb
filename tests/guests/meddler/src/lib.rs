//! A middleware that does with what passes as the header `x-meddle` says.

use hms_window::{Next, Problem, Request, Response, middleware};

async fn handle(request: Request, next: Next) -> Result<Response, Problem> {
    let how = request.text("x-meddle").unwrap_or_default().to_owned();
    match how.split_once(' ').unwrap_or((&how, "")) {
        // Answers without calling on.
        ("answer", text) => Ok(Response::text(203, text)),
        // Claims to be somebody else.
        ("forge", user) => {
            let request = request
                .with_header("x-hms-user", user)?
                .with_header("x-hms-scopes", "all")?
                .with_header("x-forwarded-for", "192.0.2.1")?
                .with_header("x-seen", "yes")?;
            next.call(request).await
        }
        // Asks for another path.
        ("path", target) => next.call(request.with_target(target)).await,
        // Sends another body on.
        ("body", text) => next.call(request.with_body(text)).await,
        // Reads the body, and sends it on in capitals.
        ("upper", _) => {
            let body = request.body().read_to_end(1 << 20).await?;
            let upper = String::from_utf8_lossy(&body).to_uppercase();
            next.call(request.with_body(upper)).await
        }
        ("trap", _) => panic!("as asked"),
        // Marks what comes back.
        ("mark", mark) => {
            let response = next.call(request).await?;
            let marks = response.headers().get("x-marks");
            let before = marks.and_then(|marks| marks.to_str().ok()).unwrap_or("-");
            let marks = format!("{before}{mark}");
            Ok(response.header("x-marks", marks))
        }
        _ => next.call(request).await,
    }
}

middleware!(handle);
