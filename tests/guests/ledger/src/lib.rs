//! A window that keeps accounts of the events that it gets, so that a lost, doubled or misplaced
//! one is seen; and one that takes payments, to see what an event costs them.
//!
//!     POST /book              books the event that is delivered, an [`Entry`], once
//!     POST /book/wrong        the same, but often it traps or answers 503, before or after
//!     POST /take              takes an event, and does nothing
//!     GET  /accounts          every [`Account`] by its name
//!     GET  /totals            the numbers `effects`, `sum` and `repeats`
//!     GET  /late              how many events came how late, by tenths of a millisecond
//!     POST /payments?how=HOW  keeps a payment: `set` without a transaction, `transaction`, or
//!                             `emit`, in a transaction with an event

use hms_window::{
    Event, Method, Problem, ReceivedEvent, Request, Response, Store, StoreError, new_id,
    transaction, window,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

window!(handle);

/// The data of an event. Its subject is the account.
#[derive(Deserialize)]
struct Entry {
    /// Of its account: 1, 2, 3, without gaps.
    number: u64,
    amount: i64,
    /// When it was asked for, in microseconds since 1970, if its lateness is to be counted.
    asked_us: Option<u64>,
}

/// What was booked to one account.
#[derive(Serialize, Deserialize, Default)]
struct Account {
    entries: u64,
    sum: i64,
    /// Entries that did not follow the one before: what is lost, doubled or out of order.
    wrong: u64,
}

/// Of 100 deliveries, those that go wrong in each of the four ways.
const WRONG_PERCENT: u64 = 4;

/// What goes wrong with a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Trap,
    Unavailable,
}

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["book"]) => {
            book(&request.event().await?)?;
            Ok(Response::empty(204))
        }
        (&Method::POST, ["book", "wrong"]) => {
            let event = request.event().await?;
            let (before, after) = faults(&event);
            go_wrong(before)?;
            book(&event)?;
            go_wrong(after)?;
            Ok(Response::empty(204))
        }
        (&Method::POST, ["take"]) => {
            request.event().await?;
            Ok(Response::empty(204))
        }
        (&Method::GET, ["accounts"]) => Ok(Response::json(200, &all::<Account>("accounts")?)),
        (&Method::GET, ["totals"]) => Ok(Response::json(200, &all::<i64>("totals")?)),
        (&Method::GET, ["late"]) => Ok(Response::json(200, &all::<i64>("late")?)),
        (&Method::POST, ["payments"]) => pay(&request).await,
        _ => Err(Problem::not_found()),
    }
}

fn book(event: &ReceivedEvent) -> Result<(), Problem> {
    let entry: Entry = event.json()?;
    let name = event.subject().unwrap_or_default();
    let (accounts, totals) = (Store::open("accounts")?, Store::open("totals")?);
    let late = Store::open("late")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_us = now.unwrap_or(Duration::ZERO).as_micros() as u64;
    let booked = transaction(|tx| {
        tx.once(event)?;
        let mut account: Account = tx.get(&accounts, name)?.unwrap_or_default();
        account.wrong += u64::from(entry.number != account.entries + 1);
        account.entries += 1;
        account.sum += entry.amount;
        tx.set(&accounts, name, &account)?;
        tx.increment(&totals, "effects", 1);
        tx.increment(&totals, "sum", entry.amount);
        if let Some(asked_us) = entry.asked_us {
            let tenths = now_us.saturating_sub(asked_us) / 100;
            tx.increment(&late, &tenths.to_string(), 1);
        }
        Ok(())
    })?;
    if booked.repeated() {
        totals.increment("repeats", 1)?;
    }
    Ok(())
}

/// What goes wrong before it is booked, and after. The same for the same attempt at the same event.
fn faults(event: &ReceivedEvent) -> (Option<Fault>, Option<Fault>) {
    // SplitMix64.
    let seed = event.sequence() << 20 | u64::from(event.attempt());
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    match (mixed ^ (mixed >> 31)) % 100 / WRONG_PERCENT {
        0 => (Some(Fault::Trap), None),
        1 => (Some(Fault::Unavailable), None),
        2 => (None, Some(Fault::Trap)),
        3 => (None, Some(Fault::Unavailable)),
        _ => (None, None),
    }
}

fn go_wrong(fault: Option<Fault>) -> Result<(), Problem> {
    match fault {
        None => Ok(()),
        Some(Fault::Trap) => panic!("as its author wants it"),
        Some(Fault::Unavailable) => Err(Problem::new(503, "unavailable", "as its author wants it")),
    }
}

/// Everything in a part of the store.
fn all<T: DeserializeOwned>(part: &str) -> Result<BTreeMap<String, T>, StoreError> {
    let store = Store::open(part)?;
    let (mut all, mut cursor) = (BTreeMap::new(), None);
    loop {
        let page = store.keys(cursor.as_deref())?;
        let values = store.get_many::<T>(&page.keys)?;
        let found = page.keys.into_iter().zip(values);
        all.extend(found.filter_map(|(key, value)| Some((key, value?))));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

/// A payment, as the window `payments` keeps it.
async fn pay(request: &Request) -> Result<Response, Problem> {
    let form: serde_json::Value = request.json().await?;
    let id = new_id();
    let payment = serde_json::json!({
        "id": id, "amount": form["amount"], "purpose": form["purpose"], "owner": "bench",
    });
    let store = Store::open("payments")?;
    match request.query() {
        "how=set" => store.set(&id, &payment)?,
        how => {
            let kept = transaction(|tx| {
                tx.set(&store, &id, &payment)?;
                match how {
                    "how=emit" => {
                        tx.emit(Event::new("gov.payment.paid.v1", &payment)?.subject(&id))
                    }
                    _ => Ok(()),
                }
            })?;
            kept.into_value()?;
        }
    }
    Ok(Response::json(201, &serde_json::json!({ "id": id })))
}
