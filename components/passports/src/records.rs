//! Where renewals lie in the store, and what goes with a change of one.
//!
//! - `passports/USER`: the renewals of one citizen, by id.
//! - `applicants`: whose a renewal is, by id.
//! - `open`: the id of a citizen's renewal that is not decided, by user. There is at most one.
//! - `documents/USER`: the content types of a citizen's documents, by id, so that a photo can be
//!   stored before its renewal is there.

use crate::renewal::{Document, Renewal, Status};
use hms_window::{Event, Store, StoreError, Transaction, TransactionError};
use serde_json::{Value, json};
use std::time::Duration;

/// The timer of each renewal that waits.
pub const REMINDER: &str = "gov.passport.reminder.v1";

pub struct Records {
    applicants: Store,
    open: Store,
}

impl Records {
    pub fn open() -> Result<Self, StoreError> {
        Ok(Records {
            applicants: Store::open("applicants")?,
            open: Store::open("open")?,
        })
    }

    /// A new renewal, with its timer.
    pub fn add(
        &self,
        tx: &mut Transaction<'_>,
        renewal: &Renewal,
        remind_after: Duration,
    ) -> Result<(), TransactionError> {
        tx.set(&self.applicants, &renewal.id, &renewal.owner)?;
        tx.set(&self.open, &renewal.owner, &renewal.id)?;
        tx.set(&of(&renewal.owner)?, &renewal.id, renewal)?;
        let about = json!({ "id": renewal.id });
        tx.timer(REMINDER, &renewal.id, remind_after, &about)
    }

    /// A changed renewal. The timer ends with the decision; before that, it may be needed again.
    pub fn change(
        &self,
        tx: &mut Transaction<'_>,
        renewal: &Renewal,
    ) -> Result<(), TransactionError> {
        tx.set(&of(&renewal.owner)?, &renewal.id, renewal)?;
        if renewal.is_decided() {
            tx.delete(&self.open, &renewal.owner);
            tx.cancel(REMINDER, &renewal.id)?;
        }
        Ok(())
    }

    /// The renewal with this id, whoever's.
    pub fn find(
        &self,
        tx: &mut Transaction<'_>,
        id: &str,
    ) -> Result<Option<Renewal>, TransactionError> {
        match tx.get::<String>(&self.applicants, id)? {
            Some(owner) => tx.get(&of(&owner)?, id),
            None => Ok(None),
        }
    }

    /// The id of the renewal of `user` that is not decided.
    pub fn open_of(
        &self,
        tx: &mut Transaction<'_>,
        user: &str,
    ) -> Result<Option<String>, TransactionError> {
        tx.get(&self.open, user)
    }

    /// The content type of a document of `user`, if it is stored.
    pub fn document(
        &self,
        tx: &mut Transaction<'_>,
        user: &str,
        id: &str,
    ) -> Result<Option<String>, TransactionError> {
        tx.get(&documents(user)?, id)
    }

    pub fn keep_document(
        &self,
        tx: &mut Transaction<'_>,
        document: &Document,
    ) -> Result<(), TransactionError> {
        let documents = documents(&document.owner)?;
        tx.set(&documents, &document.id, &document.content_type)
    }

    pub fn drop_document(
        &self,
        tx: &mut Transaction<'_>,
        document: &Document,
    ) -> Result<(), TransactionError> {
        tx.delete(&documents(&document.owner)?, &document.id);
        Ok(())
    }
}

fn of(user: &str) -> Result<Store, StoreError> {
    Store::open(&format!("passports/{user}"))
}

fn documents(user: &str) -> Result<Store, StoreError> {
    Store::open(&format!("documents/{user}"))
}

/// `gov.passport.approved.v1` or `gov.passport.refused.v1`. The second has the payment that is to
/// be given back.
pub fn decided(renewal: &Renewal) -> Result<Event, TransactionError> {
    let reason = renewal.steps.decision.as_ref().map(|it| &it.reason);
    match renewal.status {
        Status::Approved => event("gov.passport.approved.v1", renewal, &[]),
        _ => event(
            "gov.passport.refused.v1",
            renewal,
            &[
                ("reason", json!(reason)),
                ("payment", json!(renewal.payment_to_refund())),
            ],
        ),
    }
}

/// `gov.passport.incomplete.v1`: the applicant is reminded of what is missing.
pub fn incomplete(renewal: &Renewal) -> Result<Event, TransactionError> {
    let missing = ("missing", json!(renewal.missing()));
    event("gov.passport.incomplete.v1", renewal, &[missing])
}

fn event(kind: &str, renewal: &Renewal, more: &[(&str, Value)]) -> Result<Event, TransactionError> {
    let mut data = json!({
        "id": renewal.id,
        "owner": renewal.owner,
        "phone": renewal.phone,
    });
    for (name, value) in more {
        data[*name] = value.clone();
    }
    Ok(Event::new(kind, &data)?.subject(&*renewal.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::renewal::Ruling;

    #[test]
    fn refusal_names_the_payment_and_the_reason() {
        let kept = json!({
            "id": "r-1", "owner": "alice", "name": "Alice", "status": "in-review",
            "steps": {
                "fee": { "state": "paid", "amount": 60, "currency": "EUR",
                    "reference": "passports/r-1", "payment": "p-1" },
                "photo": { "state": "stored", "document": "d-1" },
            },
            "updated": 1,
        });
        let decided_as = |decision: &str| {
            let mut renewal: Renewal = serde_json::from_value(kept.clone()).unwrap();
            let ruling = json!({ "decision": decision, "reason": "too dark" });
            let ruling: Ruling = serde_json::from_value(ruling).unwrap();
            renewal.decide("eve", &ruling).unwrap();
            decided(&renewal).unwrap()
        };
        let made = |kind: &str, data: Value| Event::new(kind, &data).unwrap().subject("r-1");
        let (id, owner) = ("r-1", "alice");
        let refused = json!({ "id": id, "owner": owner, "phone": null,
            "reason": "too dark", "payment": "p-1" });
        assert_eq!(
            decided_as("refuse"),
            made("gov.passport.refused.v1", refused)
        );
        let approved = json!({ "id": id, "owner": owner, "phone": null });
        assert_eq!(
            decided_as("approve"),
            made("gov.passport.approved.v1", approved)
        );
    }
}
