//! The window {{name}}: files of any size, which are never in memory as a whole, and which their
//! owner alone sees.
//!
//!     POST /{{name}}        the bytes  ->  201 {"id", "bytes", "media_type"}
//!     GET  /{{name}}        {"files": […], "next"}       ?cursor=, the oldest first
//!     GET  /{{name}}/{id}   the bytes, as they came

use hms_window::{Method, Problem, Request, Response, Store, new_id, window};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Bytes of a file under one key. 1 MiB: a value may have 4 MiB, and an instance's memory is small.
const PIECE: usize = 1 << 20;

/// The largest file. 1 GiB.
const MAX_BYTES: u64 = 1 << 30;

/// Files in one list.
const PAGE: usize = 50;

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    // Each user's own part of the store: another user's files do not exist for them.
    let files = request.caller()?.store("files")?;
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["{{name}}"]) => take(&request, &files).await,
        (&Method::GET, ["{{name}}"]) => list(&request, &files),
        (&Method::GET, ["{{name}}", id]) => give(&files, id),
        (_, ["{{name}}"]) => Err(Problem::method_not_allowed("GET, HEAD, POST")),
        (_, ["{{name}}", _]) => Err(Problem::method_not_allowed("GET, HEAD")),
        _ => Err(Problem::not_found()),
    }
}

/// What is known of a file. It is written last: a file without it is none.
#[derive(Serialize, Deserialize)]
struct File {
    id: String,
    bytes: u64,
    media_type: String,
}

fn piece_key(id: &str, number: u64) -> String {
    format!("{id}/{number:08}")
}

fn list(request: &Request, files: &Store) -> Result<Response, Problem> {
    let page = files.page(request.param::<String>("cursor")?.as_deref(), PAGE)?;
    let found: Vec<Option<File>> = files.get_many(&page.keys)?;
    let found: Vec<File> = found.into_iter().flatten().collect();
    Ok(Response::json(
        200,
        &json!({ "files": found, "next": page.next }),
    ))
}

async fn take(request: &Request, files: &Store) -> Result<Response, Problem> {
    let (id, mut number) = (new_id(), 0);
    let taken = take_as(&id, request, files, &mut number).await;
    if taken.is_err() {
        // Nobody will ever ask for them.
        let pieces = Store::open("pieces")?;
        for number in 0..=number {
            pieces.delete(&piece_key(&id, number))?;
        }
    }
    taken
}

/// `number` is that of the piece in hand.
async fn take_as(
    id: &str,
    request: &Request,
    files: &Store,
    number: &mut u64,
) -> Result<Response, Problem> {
    let pieces = Store::open("pieces")?;
    let (mut body, mut piece, mut bytes) = (request.body(), Vec::new(), 0);
    while let Some(chunk) = body.chunk().await? {
        bytes += chunk.len() as u64;
        if bytes > MAX_BYTES {
            return Err(Problem::too_large(MAX_BYTES));
        }
        piece.extend_from_slice(&chunk);
        if piece.len() >= PIECE {
            pieces.set_bytes(&piece_key(id, *number), &piece)?;
            piece.clear();
            *number += 1;
        }
    }
    pieces.set_bytes(&piece_key(id, *number), &piece)?;
    let media_type = request
        .text("content-type")
        .unwrap_or("application/octet-stream")
        .to_owned();
    let file = File {
        id: id.to_owned(),
        bytes,
        media_type,
    };
    files.set(&file.id, &file)?;
    let location = request.public_path(&format!("/{{name}}/{}", file.id));
    Ok(Response::json(201, &file).header("location", location))
}

fn give(files: &Store, id: &str) -> Result<Response, Problem> {
    let file: File = files.get(id)?.ok_or_else(Problem::not_found)?;
    let id = file.id;
    let response = Response::stream(200, async move |out| {
        let pieces = Store::open("pieces")?;
        for number in 0.. {
            let Some(piece) = pieces.get_bytes(&piece_key(&id, number))? else {
                break;
            };
            // Waits until the client has taken it.
            out.write(piece).await?;
        }
        Ok(())
    });
    Ok(response
        .header("content-type", file.media_type)
        .header("content-length", file.bytes.to_string())
        // So that no browser runs what somebody has uploaded.
        .header("content-disposition", "attachment")
        .header("x-content-type-options", "nosniff"))
}
