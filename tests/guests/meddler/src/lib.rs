//! A middleware that does with what passes as the header `x-meddle` says.

mod hold;

use hms_window::{Next, Problem, Request, Response, sleep_ms};
use std::sync::atomic::{AtomicU64, Ordering};
use wasip3::http::types::{ErrorCode, Request as Raw, Response as RawResponse};
use wasip3::wit_bindgen::StreamResult;

/// Requests at work in this instance.
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
        // Sends it on after so many milliseconds, and says how many of its instance's requests were
        // at work then.
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

struct Meddler;

impl wasip3::exports::http::handler::Guest for Meddler {
    async fn handle(request: Raw) -> Result<RawResponse, ErrorCode> {
        // `unsized`: sends the body on in a stream of its own, without a length. The SDK always
        // tells it, so it is done here.
        let how = request.get_headers().get("x-meddle");
        let request = match how.iter().any(|how| how == b"unsized") {
            true => without_length(request)?,
            false => request,
        };
        hms_window::__private::serve_between(request, handle).await
    }
}

wasip3::http::service::export!(Meddler with_types_in wasip3);

fn without_length(request: Raw) -> Result<Raw, ErrorCode> {
    let (method, path) = (request.get_method(), request.get_path_with_query());
    let (scheme, authority) = (request.get_scheme(), request.get_authority());
    let headers = request.get_headers();
    let (taken, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, _) = Raw::consume_body(request, result);
    let (mut writer, stream) = wasip3::wit_stream::new();
    let (end, trailers) = wasip3::wit_future::new(|| Ok(None));
    wasip3::spawn_local(async move {
        loop {
            let (status, bytes) = body.read(Vec::with_capacity(4096)).await;
            if !bytes.is_empty() {
                writer.write_all(bytes).await;
            }
            if !matches!(status, StreamResult::Complete(_)) {
                break;
            }
        }
        drop(writer);
        _ = taken.write(Ok(())).await;
        _ = end.write(Ok(None)).await;
    });
    let (sent, _) = Raw::new(headers, Some(stream), trailers, None);
    sent.set_method(&method)
        .and_then(|()| sent.set_path_with_query(path.as_deref()))
        .and_then(|()| sent.set_scheme(scheme.as_ref()))
        .and_then(|()| sent.set_authority(authority.as_deref()))
        .map_err(|()| ErrorCode::InternalError(None))?;
    Ok(sent)
}
