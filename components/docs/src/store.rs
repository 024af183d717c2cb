//! Where things lie in the store, and in which order they are put there and taken away.
//!
//! - `docs/USER`: the records of one citizen, by id. What has a record exists, unless that says
//!   `removed`.
//! - `chunks/ID`: the bytes of one document, by number.
//! - `unfinished`: what is being written or removed, by id.
//!
//! An instance can be ended at any point. So a note in `unfinished` is written before the first
//! chunk and removed in the transaction that writes the record; and it is written in the one that
//! marks a record as removed, and removed after the last chunk is. Whatever an instance leaves
//! behind has a note, and a later upload finishes the matter.

use crate::record::Record;
use hms_window::{Problem, Store, StoreError, TransactionError, id_time_ms, now_ms, transaction};
use serde::{Deserialize, Serialize};

/// How old a note must be before another instance takes it up. No instance lives nearly as long.
const ABANDONED_AFTER_MS: u64 = 60 * 60 * 1000;

/// Notes looked at by one upload: it should not pay for many others.
const SWEPT_AT_ONCE: usize = 4;

#[derive(Serialize, Deserialize)]
struct Note {
    owner: String,
    removing: bool,
}

/// The records of one citizen.
pub fn records(owner: &str) -> Result<Store, StoreError> {
    Store::open(&format!("docs/{owner}"))
}

/// The chunks of one document.
pub fn chunks(id: &str) -> Result<Store, StoreError> {
    Store::open(&format!("chunks/{id}"))
}

fn unfinished() -> Result<Store, StoreError> {
    Store::open("unfinished")
}

/// To be called before anything of a document is written.
pub fn begin(id: &str, owner: &str) -> Result<(), StoreError> {
    unfinished()?.set(
        id,
        &Note {
            owner: owner.to_owned(),
            removing: false,
        },
    )
}

/// From now on the document exists, and whoever subscribes hears of it.
pub fn finish(record: &Record, owner: &str) -> Result<(), TransactionError> {
    let (records, notes) = (records(owner)?, unfinished()?);
    transaction(|tx| {
        tx.set(&records, &record.id, record)?;
        tx.delete(&notes, &record.id);
        tx.emit(record.stored(owner)?)
    })?;
    Ok(())
}

/// The record of a document that is there; 404 for another.
pub fn find(id: &str, owner: &str) -> Result<Record, Problem> {
    there(records(owner)?.get(id)?)
}

fn there(record: Option<Record>) -> Result<Record, Problem> {
    record
        .filter(|record| !record.removed)
        .ok_or_else(Problem::not_found)
}

/// Removes a document that `admit` has looked at: 404 where another request was faster. If this
/// ends half-way, the sweep removes the rest.
pub fn remove(
    id: &str,
    owner: &str,
    admit: impl Fn(&Record) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let (records, notes) = (records(owner)?, unfinished()?);
    let note = Note {
        owner: owner.to_owned(),
        removing: true,
    };
    transaction(|tx| {
        // Of several requests the one that marks the record has removed it.
        let mut record = there(tx.get(&records, id)?)?;
        admit(&record)?;
        record.removed = true;
        tx.set(&notes, id, &note)?;
        tx.set(&records, id, &record)?;
        tx.emit(record.removed(owner)?)
    })?;
    Ok(discard(id, owner)?)
}

/// Removes whatever there is of a document that has a note, and then the note.
pub fn discard(id: &str, owner: &str) -> Result<(), StoreError> {
    records(owner)?.delete(id)?;
    let chunks = chunks(id)?;
    loop {
        let keys = chunks.keys(None)?.keys;
        if keys.is_empty() {
            break;
        }
        chunks.delete_many(&keys)?;
    }
    unfinished()?.delete(id)
}

/// Finishes what an ended instance left: a little of it, and without troubling the request that
/// happens to do it.
pub fn sweep() {
    if let Err(problem) = try_sweep() {
        eprintln!("the sweep of unfinished documents failed: {problem}");
    }
}

fn try_sweep() -> Result<(), Problem> {
    let (notes, now) = (unfinished()?, now_ms());
    for id in notes.page(None, SWEPT_AT_ONCE)?.keys {
        let begun = id_time_ms(&id).unwrap_or(0);
        if now.saturating_sub(begun) < ABANDONED_AFTER_MS {
            // Ids are in the order of time: the others are younger still.
            break;
        }
        let Some(note) = notes.get::<Note>(&id)? else {
            continue;
        };
        if !note.removing && records(&note.owner)?.exists(&id)? {
            // Of an earlier release, which removed the note after it had written the record.
            notes.delete(&id)?;
        } else {
            discard(&id, &note.owner)?;
            println!("document {id}: removed what an interrupted upload left behind");
        }
    }
    Ok(())
}
