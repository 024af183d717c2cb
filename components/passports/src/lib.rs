//! The passports window: the renewal of a passport, a saga over several windows.
//!
//!     POST /passports                 {"name", "photo"?, "phone"?}   ->  201, the renewal
//!     GET  /passports/{id}            its owner's only
//!     GET  /passports                 {"passports": […], "next"}     ?limit=&cursor=
//!     POST /passports/{id}/decision   {"decision": "approve" or "refuse", "reason"?}
//!
//! A renewal waits for its fee and its photo. Both arrive as events of the windows payments and
//! docs, in any order, at `POST /events`. Then somebody with the scope `passports.decide` decides,
//! who is not the applicant. A timer reminds who has not paid or has no photo. A refusal is an
//! event, on which payments gives the fee back; that arrives as an event as well.
//!
//! `renewal` has what each of these does to a renewal, `records` where it is kept and what goes
//! with it, and `events` which event is whose.

mod decision;
mod events;
mod records;
mod renewal;
mod settings;

use hms_window::{
    Method, Problem, Request, Response, TransactionError, new_id, now_ms, transaction, window,
};
use records::Records;
use renewal::{Application, Document, Renewal};
use serde_json::json;
use settings::Settings;

/// Renewals in one answer: what a client gets unasked, and the most it can ask for.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["passports"]) => apply(&request).await,
        (&Method::GET, ["passports"]) => list(&request),
        (&Method::GET, ["passports", id]) => show(&request, id),
        (&Method::POST, ["passports", id, "decision"]) => decision::decide(&request, id).await,
        (&Method::POST, ["events"]) => events::received(&request).await,
        (_, ["passports"]) => Err(Problem::method_not_allowed("GET, HEAD, POST")),
        (_, ["passports", _]) => Err(Problem::method_not_allowed("GET, HEAD")),
        (_, ["passports", _, "decision"] | ["events"]) => Err(Problem::method_not_allowed("POST")),
        _ => Err(Problem::not_found()),
    }
}

async fn apply(request: &Request) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let application: Application = request.json().await?;
    application.check().map_err(Problem::bad_request)?;
    let settings = Settings::read();
    let records = Records::open()?;
    let id = new_id();
    let renewal = transaction(|tx| {
        if let Some(open) = records.open_of(tx, &caller.user)? {
            return Err(already_open(request, &open));
        }
        let mut renewal = Renewal::new(&id, &caller.user, &application, &settings, now_ms());
        // It may have been stored before.
        if let Some(photo) = &application.photo
            && let Some(content_type) = records.document(tx, &caller.user, photo)?
        {
            renewal.stored(&Document {
                id: photo.clone(),
                owner: caller.user.clone(),
                content_type,
            });
        }
        records.add(tx, &renewal, settings.remind_after)?;
        Ok(renewal)
    })?
    .into_value()?;
    let location = request.public_path(&format!("/passports/{id}"));
    Ok(Response::json(201, &renewal).header("location", location))
}

fn already_open(request: &Request, id: &str) -> TransactionError {
    let detail = format!("a renewal is open: {id}");
    let problem = Problem::new(409, "renewal-open", detail);
    let location = request.public_path(&format!("/passports/{id}"));
    problem.header("location", location).into()
}

fn show(request: &Request, id: &str) -> Result<Response, Problem> {
    let renewals = request.caller()?.store("passports")?;
    let renewal: Renewal = renewals.get(id)?.ok_or_else(Problem::not_found)?;
    Ok(Response::json(200, &renewal))
}

fn list(request: &Request) -> Result<Response, Problem> {
    let renewals = request.caller()?.store("passports")?;
    let limit = request.param("limit")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let page = renewals.page(request.param::<String>("cursor")?.as_deref(), limit)?;
    let found: Vec<Option<Renewal>> = renewals.get_many(&page.keys)?;
    let found: Vec<Renewal> = found.into_iter().flatten().collect();
    Ok(Response::json(
        200,
        &json!({ "passports": found, "next": page.next }),
    ))
}
