//! `GET /docs/{id}`: a document, or a part of it, chunk by chunk.

use crate::{chunks, store};
use hms_window::range::{Wanted, wanted};
use hms_window::{Conditional, Problem, Request, Response, Validators, header};

/// Answers with the document, where the caller owns it.
pub fn download(request: &Request, id: &str) -> Result<Response, Problem> {
    let record = store::find(id, &request.caller()?.user)?;
    let (current, size) = (record.validators(), record.size);

    // HEAD knows no ranges (RFC 9110, section 14.2).
    let ranged = match request.conditional(Some(&current))? {
        Conditional::NotModified => return Ok(common(Response::empty(304), &current)),
        Conditional::Whole => false,
        Conditional::Proceed => !request.is_head(),
    };
    let mut ranges = request.headers().get_all(header::RANGE).iter();
    // Several fields are no range, and may be ignored.
    let range = match (ranges.next(), ranges.next()) {
        (Some(range), None) if ranged => range.to_str().ok(),
        _ => None,
    };
    let (status, bytes) = match wanted(range, size) {
        Wanted::Whole => (200, 0..size),
        Wanted::Part(bytes) => (206, bytes),
        Wanted::Nothing => return Err(not_satisfiable(size)),
    };

    let (start, end) = (bytes.start, bytes.end);
    let id = record.id.clone();
    let mut response = Response::stream(status, async move |out| {
        let store = store::chunks(&id)?;
        for (key, part) in chunks::cover(bytes) {
            let chunk = store.get_bytes(&key)?;
            // Removed meanwhile: the client must see a cut and no shorter document.
            let part = chunk.and_then(|chunk| chunks::part(chunk, part));
            let part = part.ok_or_else(|| Problem::internal(format!("{id}: no chunk {key}")))?;
            out.write(part).await?;
        }
        Ok(())
    });
    if status == 206 {
        response = response.header("content-range", format!("bytes {start}-{}/{size}", end - 1));
    }
    Ok(common(response, &current)
        .header("content-length", end - start)
        .header("content-type", record.content_type.as_str())
        .header("content-disposition", record.disposition())
        // The type is the uploader's word: no browser shall guess another from the bytes.
        .header("x-content-type-options", "nosniff"))
}

/// What 200, 206 and 304 have in common. A document never changes, but it can be removed, and it is
/// its owner's alone.
fn common(response: Response, current: &Validators) -> Response {
    response
        .validators(current)
        .header("accept-ranges", "bytes")
        .header("cache-control", "private, no-cache")
}

fn not_satisfiable(size: u64) -> Problem {
    Problem::new(
        416,
        "range-not-satisfiable",
        format!("the range is outside the {size} bytes of the document"),
    )
    .header("content-range", format!("bytes */{size}"))
}
