//! `POST /docs`: from a form on the wire into chunks.

use crate::chunks::Writer;
use crate::disposition::{self, Disposition};
use crate::names::{clean_content_type, clean_name};
use crate::record::Record;
use crate::store;
use futures_util::stream::{Stream, unfold};
use hms_window::{Body, Bytes, Problem, Request, Response, TransactionError, Validators, new_id};
use multer::{Constraints, Field, Multipart, SizeLimit};
use std::future::poll_fn;
use std::task::Poll;

/// The largest file: 25 MiB, which is a little more than the 25 MB that citizens are told.
const FILE_MAX_BYTES: u64 = 25 * 1024 * 1024;

/// What a form may have beside the file: boundaries, headers, a few small fields.
const FORM_EXTRA_BYTES: u64 = 64 * 1024;

/// Takes a file, and answers with its record once all of it is on disk.
pub async fn upload(request: &Request) -> Result<Response, Problem> {
    let owner = request.caller()?.user;
    let mut form = form(request)?;
    // It adds to the list, which is there and has no validators.
    request.conditional(Some(&Validators::new()))?;
    store::sweep();

    let (mut file, sent_name) = find_file(&mut form).await?;
    let name = clean_name(sent_name.as_deref()).map_err(Problem::bad_request)?;
    let content_type = clean_content_type(file.content_type().map(AsRef::as_ref));
    let id = new_id();

    store::begin(&id, &owner)?;
    let stored = async {
        let size = store(&id, &mut file).await?;
        drop(file);
        nothing_after(&mut form).await?;
        let record = Record {
            id: id.clone(),
            name,
            content_type,
            size,
            removed: false,
        };
        store::finish(&record, &owner)?;
        Ok::<_, TransactionError>(record)
    };
    match stored.await {
        Ok(record) => {
            let response = Response::json(201, &record.shown(request));
            Ok(response.header("location", record.url(request)))
        }
        // It may be there: the sweep sees.
        Err(error @ TransactionError::Unknown(_)) => Err(error.into()),
        Err(error) => {
            if let Err(error) = store::discard(&id, &owner) {
                eprintln!("document {id}: its incomplete data stays until a sweep: {error}");
            }
            Err(error.into())
        }
    }
}

/// The form, not yet read; 413 at once where the client says beforehand that it is too large.
fn form(request: &Request) -> Result<Multipart<'static>, Problem> {
    let whole = FILE_MAX_BYTES + FORM_EXTRA_BYTES;
    let announced = request
        .text("content-length")
        .and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > whole) {
        return Err(Problem::too_large(FILE_MAX_BYTES));
    }
    let content_type = request.text("content-type").unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(form_problem)?;
    let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(whole));
    Ok(Multipart::with_constraints(
        paced(request.body()),
        boundary,
        limits,
    ))
}

/// The body as a stream that takes a breath before each chunk: multer gathers whatever it can have
/// without waiting, so a fast client's whole file would be in memory.
fn paced(body: Body) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
    unfold(body, async |mut body| {
        let mut breathed = false;
        poll_fn(|context| {
            if std::mem::replace(&mut breathed, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let chunk = body.chunk().await.transpose()?;
        Some((chunk, body))
    })
}

/// The part `file`, and what the client calls the file.
async fn find_file(
    form: &mut Multipart<'static>,
) -> Result<(Field<'static>, Option<String>), Problem> {
    while let Some(part) = form.next_field().await.map_err(form_problem)? {
        let Disposition { name, file_name } = disposition(&part)?;
        if name.as_deref() == Some("file") {
            return Ok((part, file_name));
        }
    }
    Err(Problem::bad_request("the form has no part 'file'"))
}

/// What a part says of itself. Read by us: multer knows neither all forms of a name nor where a
/// quoted one ends.
fn disposition(part: &Field<'_>) -> Result<Disposition, Problem> {
    let field = part.headers().get("content-disposition");
    let field = field.map_or(&[][..], |field| field.as_bytes());
    disposition::parse(field).map_err(Problem::bad_request)
}

/// Reads to the form's end: only a form that is whole is taken.
async fn nothing_after(form: &mut Multipart<'static>) -> Result<(), Problem> {
    while let Some(part) = form.next_field().await.map_err(form_problem)? {
        if disposition(&part)?.name.as_deref() == Some("file") {
            return Err(Problem::bad_request(
                "the form has more than one part 'file'",
            ));
        }
    }
    Ok(())
}

/// Stores a part in chunks, and returns its size.
async fn store(id: &str, file: &mut Field<'static>) -> Result<u64, Problem> {
    let (mut writer, mut size) = (Writer::new(store::chunks(id)?), 0);
    while let Some(bytes) = file.chunk().await.map_err(form_problem)? {
        size += bytes.len() as u64;
        if size > FILE_MAX_BYTES {
            return Err(Problem::too_large(FILE_MAX_BYTES));
        }
        writer.write(&bytes)?;
    }
    writer.finish()?;
    Ok(size)
}

/// What is wrong with the form, in words that help whoever wrote the client.
fn form_problem(error: multer::Error) -> Problem {
    use multer::Error as E;
    Problem::bad_request(match error {
        E::StreamSizeExceeded { .. } => return Problem::too_large(FILE_MAX_BYTES),
        E::StreamReadFailed(cause) => match cause.downcast::<Problem>() {
            Ok(problem) => return *problem,
            Err(cause) => format!("cannot read the form: {cause}"),
        },
        E::NoMultipart | E::DecodeContentType(_) => {
            "the content type is not 'multipart/form-data': send the file as a form".into()
        }
        E::NoBoundary => "the content type 'multipart/form-data' has no boundary".into(),
        E::IncompleteStream | E::IncompleteHeaders | E::IncompleteFieldData { .. } => {
            "the form is truncated, or its boundary differs from the one in the content type".into()
        }
        E::ReadHeaderFailed(_) | E::DecodeHeaderName { .. } | E::DecodeHeaderValue { .. } => {
            "the headers of a part of the form are malformed".into()
        }
        other => format!("cannot read the form: {other}"),
    })
}
