//! `POST /passports/{id}/decision`: what an official decides, and the event that tells of it.

use crate::records::{self, Records};
use crate::renewal::Ruling;
use hms_window::{Problem, Request, Response, now_ms, transaction};

/// Whoever decides has this scope. The route asks for it as well.
const SCOPE: &str = "passports.decide";

pub async fn decide(request: &Request, id: &str) -> Result<Response, Problem> {
    let caller = request.caller()?;
    if !caller.has_scope(SCOPE) {
        let detail = format!("a decision needs the scope {SCOPE}");
        return Err(Problem::new(403, "forbidden", detail));
    }
    let ruling: Ruling = request.json().await?;
    ruling.check().map_err(Problem::bad_request)?;
    let records = Records::open()?;
    let renewal = transaction(|tx| {
        let mut renewal = records.find(tx, id)?.ok_or_else(Problem::not_found)?;
        renewal.decide(&caller.user, &ruling)?;
        renewal.updated = now_ms();
        records.change(tx, &renewal)?;
        tx.emit(records::decided(&renewal)?)?;
        Ok(renewal)
    })?;
    Ok(Response::json(200, &renewal.into_value()?))
}
