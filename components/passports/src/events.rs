//! `POST /events`: what the host delivers. Each event has its effect once, in one transaction.

use crate::records::{self, REMINDER, Records};
use crate::renewal::{Document, Payment, Renewal, Status};
use hms_window::{
    Event, Problem, ReceivedEvent, Request, Response, Transaction, TransactionError, now_ms,
    transaction,
};
use serde::Deserialize;
use serde_json::json;

/// The data of a reminder.
#[derive(Deserialize)]
struct Reminder {
    id: String,
}

pub async fn received(request: &Request) -> Result<Response, Problem> {
    let event = request.event().await?;
    match event.kind() {
        "gov.payment.paid.v1" => {
            let payment: Payment = event.json()?;
            once(&event, |tx, records| paid(tx, records, &payment))
        }
        "gov.payment.refunded.v1" => {
            let payment: Payment = event.json()?;
            once(&event, |tx, records| refunded(tx, records, &payment))
        }
        "gov.document.stored.v1" => {
            let document: Document = event.json()?;
            once(&event, |tx, records| stored(tx, records, &document))
        }
        "gov.document.removed.v1" => {
            let document: Document = event.json()?;
            once(&event, |tx, records| removed(tx, records, &document))
        }
        REMINDER => {
            let reminder: Reminder = event.json()?;
            once(&event, |tx, records| remind(tx, records, &reminder.id))
        }
        // A subscription is wider than what is done here.
        _ => Ok(Response::empty(204)),
    }
}

fn once(
    event: &ReceivedEvent,
    effect: impl Fn(&mut Transaction<'_>, &Records) -> Result<(), TransactionError>,
) -> Result<Response, Problem> {
    let records = Records::open()?;
    transaction(|tx| {
        tx.once(event)?;
        effect(tx, &records)
    })?;
    Ok(Response::empty(204))
}

fn paid(
    tx: &mut Transaction<'_>,
    records: &Records,
    payment: &Payment,
) -> Result<(), TransactionError> {
    let Some(id) = payment.renewal() else {
        return Ok(());
    };
    let Some(mut renewal) = records.find(tx, id)? else {
        return reject(tx, id, payment, "there is no such renewal");
    };
    match renewal.paid(payment) {
        Ok(()) => {
            renewal.updated = now_ms();
            records.change(tx, &renewal)
        }
        Err(why) => reject(tx, id, payment, &why),
    }
}

/// The payment is not taken: payments gives it back.
fn reject(
    tx: &mut Transaction<'_>,
    id: &str,
    payment: &Payment,
    why: &str,
) -> Result<(), TransactionError> {
    let data = json!({ "id": id, "owner": payment.owner, "payment": payment.id, "reason": why });
    tx.emit(Event::new("gov.passport.fee-rejected.v1", &data)?.subject(id))
}

fn refunded(
    tx: &mut Transaction<'_>,
    records: &Records,
    payment: &Payment,
) -> Result<(), TransactionError> {
    let Some(id) = payment.renewal() else {
        return Ok(());
    };
    let refunded = |renewal: &mut Renewal| renewal.refunded(&payment.id);
    if let Some(renewal) = change(tx, records, id, refunded)?
        && renewal.status == Status::Approved
    {
        eprintln!("renewal {id}: it is approved, and its fee was taken back");
    }
    Ok(())
}

fn stored(
    tx: &mut Transaction<'_>,
    records: &Records,
    document: &Document,
) -> Result<(), TransactionError> {
    records.keep_document(tx, document)?;
    if let Some(id) = records.open_of(tx, &document.owner)? {
        change(tx, records, &id, |renewal| renewal.stored(document))?;
    }
    Ok(())
}

fn removed(
    tx: &mut Transaction<'_>,
    records: &Records,
    document: &Document,
) -> Result<(), TransactionError> {
    records.drop_document(tx, document)?;
    if let Some(id) = records.open_of(tx, &document.owner)? {
        change(tx, records, &id, |renewal| renewal.removed(&document.id))?;
    }
    Ok(())
}

fn remind(tx: &mut Transaction<'_>, records: &Records, id: &str) -> Result<(), TransactionError> {
    match change(tx, records, id, |renewal| renewal.remind(now_ms()))? {
        Some(renewal) => tx.emit(records::incomplete(&renewal)?),
        None => Ok(()),
    }
}

/// The renewal as `change` has made it; none if there is none, or `change` says that it did
/// nothing.
fn change(
    tx: &mut Transaction<'_>,
    records: &Records,
    id: &str,
    change: impl FnOnce(&mut Renewal) -> bool,
) -> Result<Option<Renewal>, TransactionError> {
    let Some(mut renewal) = records.find(tx, id)? else {
        return Ok(None);
    };
    if !change(&mut renewal) {
        return Ok(None);
    }
    renewal.updated = now_ms();
    records.change(tx, &renewal)?;
    Ok(Some(renewal))
}
