//! A middleware that does with what passes as the header `x-meddle` says.

mod hold;

use hms_window::{Next, Problem, Request, Response, middleware, sleep_ms};
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests at work in this clerk.
static AT_WORK: AtomicU64 = AtomicU64::new(0);

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
        // Answers at once, and sends its request on after so many milliseconds.
        ("later", ms) => {
            let ms = number(ms)?;
            let body = request.body().read_to_end(1 << 20).await?;
            let request = request.with_body(body);
            wasip3::spawn_local(async move {
                sleep_ms(ms).await;
                match next.call(request).await {
                    Ok(answer) => println!("later: {}", answer.status()),
                    Err(problem) => println!("later: {problem:?}"),
                }
            });
            Ok(Response::text(202, "accepted\n"))
        }
        // Sends it on after so many milliseconds, and says how many of its clerk's requests were at
        // work then.
        ("hold", ms) => {
            AT_WORK.fetch_add(1, Ordering::Relaxed);
            sleep_ms(number(ms)?).await;
            let at_work = AT_WORK.load(Ordering::Relaxed);
            let answer = next.call(request).await;
            AT_WORK.fetch_sub(1, Ordering::Relaxed);
            Ok(answer?.header("x-at-work", at_work))
        }
        // Marks what comes back.
        ("mark", mark) => {
            let response = next.call(request).await?;
            let marks = response.headers().get("x-marks");
            let before = marks.and_then(|marks| marks.to_str().ok()).unwrap_or("-");
            let marks = format!("{before}{mark}");
            Ok(response.header("x-marks", marks))
        }
        // Calls on so many times, and holds the heads of the answers.
        ("hold-heads", times) => hold::heads(request.path(), number(times)?).await,
        // The same with their trailers.
        ("hold-trailers", times) => hold::trailers(request.path(), number(times)?).await,
        _ => next.call(request).await,
    }
}

fn number(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(Problem::internal)
}

middleware!(handle);
