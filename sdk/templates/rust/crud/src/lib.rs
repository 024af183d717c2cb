//! The window {{name}}: notes, which their owner alone sees.
//!
//!     POST   /{{name}}        {"title", "text"}  ->  201 {"id", "version", "title", "text"}
//!     GET    /{{name}}        {"notes": […], "next"}     ?limit=&cursor=, the oldest first
//!     GET    /{{name}}/{id}   with an entity tag
//!     PUT    /{{name}}/{id}   If-Match: the tag that was read, so that no change is lost
//!     DELETE /{{name}}/{id}   the same

mod note;

use hms_window::{
    Caller, Conditional, Method, Problem, Request, Response, Store, new_id, transaction, window,
};
use note::{Form, Note};
use serde_json::json;

/// Notes in one answer: what a client gets unasked, and the most it can ask for.
const PAGE: usize = 20;
const PAGE_MAX: usize = 100;

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    let notes = notes(&request.caller()?)?;
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["{{name}}"]) => create(&request, &notes).await,
        (&Method::GET, ["{{name}}"]) => list(&request, &notes),
        (&Method::GET, ["{{name}}", id]) => show(&request, &notes, id),
        (&Method::PUT, ["{{name}}", id]) => replace(&request, &notes, id).await,
        (&Method::DELETE, ["{{name}}", id]) => delete(&request, &notes, id),
        (_, ["{{name}}"]) => Err(Problem::method_not_allowed("GET, HEAD, POST")),
        (_, ["{{name}}", _]) => Err(Problem::method_not_allowed("GET, HEAD, PUT, DELETE")),
        _ => Err(Problem::not_found()),
    }
}

/// Each user's own part of the store: another user's notes do not exist for them.
fn notes(caller: &Caller) -> Result<Store, Problem> {
    Ok(caller.store("notes")?)
}

async fn create(request: &Request, notes: &Store) -> Result<Response, Problem> {
    let form: Form = request.json().await?;
    // Ids are in the order of time, and so are keys.
    let note = Note::new(new_id(), 1, form)?;
    notes.set(&note.id, &note)?;
    let location = request.public_path(&format!("/{{name}}/{}", note.id));
    Ok(Response::json(201, &note)
        .header("location", location)
        .validators(&note.validators()))
}

fn list(request: &Request, notes: &Store) -> Result<Response, Problem> {
    let limit = request.param("limit")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let page = notes.page(request.param::<String>("cursor")?.as_deref(), limit)?;
    let found: Vec<Option<Note>> = notes.get_many(&page.keys)?;
    let found: Vec<Note> = found.into_iter().flatten().collect();
    Ok(Response::json(
        200,
        &json!({ "notes": found, "next": page.next }),
    ))
}

fn show(request: &Request, notes: &Store, id: &str) -> Result<Response, Problem> {
    let note: Note = notes.get(id)?.ok_or_else(Problem::not_found)?;
    let current = note.validators();
    let response = match request.conditional(Some(&current))? {
        Conditional::NotModified => Response::empty(304),
        Conditional::Proceed | Conditional::Whole => Response::json(200, &note),
    };
    Ok(response.validators(&current))
}

async fn replace(request: &Request, notes: &Store, id: &str) -> Result<Response, Problem> {
    let form: Form = request.json().await?;
    // Check and change are one step: if another request was faster, both run again.
    let note = notes.try_update(id, |old: Option<Note>| {
        let old = old.ok_or_else(Problem::not_found)?;
        request.conditional(Some(&old.validators()))?;
        Note::new(old.id, old.version + 1, form.clone())
    })?;
    Ok(Response::json(200, &note).validators(&note.validators()))
}

fn delete(request: &Request, notes: &Store, id: &str) -> Result<Response, Problem> {
    transaction(|tx| {
        let note: Note = tx.get(notes, id)?.ok_or_else(Problem::not_found)?;
        request.conditional(Some(&note.validators()))?;
        tx.delete(notes, id);
        Ok(())
    })?;
    Ok(Response::empty(204))
}
