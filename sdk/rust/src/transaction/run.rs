//! Tries a transaction until nobody was faster.

use super::host::{self, Check, Host, Place};
use super::{Committed, Transaction, TransactionError};
use crate::StoreError;
use crate::store::UPDATE_TRIES;

/// A version that no key has: a check of it never holds.
const NEVER: &str = "0";

/// What a try came to.
enum Tried<T> {
    Done(Committed<T>),
    /// Somebody was faster, at this key.
    Conflict(String),
    Failed(TransactionError),
}

pub(super) fn run<T, F>(host: &mut dyn Host, mut run: F) -> Result<Committed<T>, TransactionError>
where
    F: FnMut(&mut Transaction<'_>) -> Result<T, TransactionError>,
{
    let mut contended = String::new();
    for _ in 0..UPDATE_TRIES {
        let mut tx = Transaction::new(&mut *host);
        let tried = match run(&mut tx) {
            Ok(value) => commit(tx, value),
            Err(error) => given_up(tx, error),
        };
        match tried {
            Tried::Done(committed) => return Ok(committed),
            Tried::Failed(error) => return Err(error),
            Tried::Conflict(key) => contended = key,
        }
    }
    Err(StoreError::Contended { key: contended }.into())
}

fn commit<T>(tx: Transaction<'_>, value: T) -> Tried<T> {
    // One read is one moment: there is nothing to check.
    if tx.only_reads() && tx.seen.len() < 2 {
        return Tried::Done(Committed {
            value: Some(value),
            event_ids: Vec::new(),
            counters: Vec::new(),
        });
    }
    let submitted = host::Transaction {
        checks: tx.checks(),
        changes: tx.changes,
        events: tx.events.into_iter().map(|it| it.into_host()).collect(),
        cancel: tx.cancel,
        once: tx.once,
    };
    let mut outcome = tx.host.commit(&submitted);
    if let Err(host::Error::Unknown(_)) = outcome
        && submitted.once.is_some()
    {
        // The host knows by its 'once' whether it is there, if its disk has recovered.
        outcome = tx.host.commit(&submitted).or(outcome);
    }
    match outcome {
        Ok(done) => Tried::Done(Committed {
            value: (!done.repeated).then_some(value),
            event_ids: done.event_ids,
            counters: done.counters,
        }),
        Err(host::Error::Conflict(places)) => conflict(places),
        Err(error) => Tried::Failed(error.into()),
    }
}

/// The function returned `error`. That says nothing where it was done before, because it then saw
/// its own effect; or where it saw a mixture of two states, because others wrote between its reads.
fn given_up<T>(tx: Transaction<'_>, error: TransactionError) -> Tried<T> {
    if tx.once.is_none() && tx.seen.len() < 2 {
        return Tried::Failed(error);
    }
    let mut checks = tx.checks();
    let seen = checks.len();
    // So that nothing can be committed.
    checks.push(Check {
        at: Place {
            bucket: String::new(),
            key: NEVER.to_owned(),
        },
        version: Some(NEVER.to_owned()),
    });
    let asked = tx.host.commit(&host::Transaction {
        checks,
        changes: Vec::new(),
        events: Vec::new(),
        cancel: Vec::new(),
        once: tx.once,
    });
    match asked {
        Ok(done) if done.repeated => Tried::Done(Committed {
            value: None,
            event_ids: Vec::new(),
            counters: Vec::new(),
        }),
        // More than the one that never holds.
        Err(host::Error::Conflict(places)) if seen > 0 && places.len() > 1 => conflict(places),
        _ => Tried::Failed(error),
    }
}

fn conflict<T>(places: Vec<Place>) -> Tried<T> {
    let first = places.into_iter().next();
    Tried::Conflict(first.map(|place| place.key).unwrap_or_default())
}
