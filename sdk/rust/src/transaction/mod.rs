//! Changes of several keys, and events, that are committed together or not at all.
//!
//! [`mod@host`] is what is asked of the host, and [`error`] why it fails. The view of one try, with
//! what it has read and will write, is [`Transaction`]; [`run`] tries until nobody was faster.

mod error;
pub(crate) mod host;
mod run;

pub use error::TransactionError;

use self::host::{Change, Check, Entry, Host, Place};
use crate::store::{decode, encode};
use crate::{Event, ReceivedEvent, Store, StoreError, now_ms};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Runs `run`, and commits all that it has written and emitted, or nothing.
///
/// What it reads is checked at the commit: if another instance has changed any of it meanwhile, it
/// runs again with the newer values, up to 64 times. So it must not have side effects of its own.
/// An error that it returns ends the transaction, and nothing is written.
///
/// ```no_run
/// # use hms_window::{Event, Problem, Store, days, transaction};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Fee { paid: bool }
/// # fn pay(id: &str) -> Result<(), Problem> {
/// let fees = Store::open("fees")?;
/// transaction(|tx| {
///     let mut fee: Fee = tx.get(&fees, id)?.ok_or_else(Problem::not_found)?;
///     fee.paid = true;
///     tx.set(&fees, id, &fee)?;
///     tx.emit(Event::new("gov.payment.paid.v1", &fee)?.subject(id))?;
///     tx.timer("gov.payment.archive.v1", id, days(10), &fee)
/// })?;
/// # Ok(()) }
/// ```
///
/// It is on disk when this returns. A transaction reads at most 256 keys, emits at most 256 events,
/// makes at most 1,024 changes, and writes at most 16 MiB.
///
/// # Errors
/// Why nothing was committed. [`StoreError::Contended`] if others were faster 64 times.
pub fn transaction<T, F>(run: F) -> Result<Committed<T>, TransactionError>
where
    F: FnMut(&mut Transaction<'_>) -> Result<T, TransactionError>,
{
    run::run(&mut host::Window, run)
}

/// A committed [`transaction()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the function returned. None if the same [`Transaction::once`] was committed before:
    /// then nothing was done now.
    pub value: Option<T>,
    /// The id of each event, in order, timers included.
    pub event_ids: Vec<String>,
    /// The new value of each counter that was incremented, in order.
    pub counters: Vec<i64>,
}

impl<T> Committed<T> {
    /// Whether it had been committed before, so that nothing was done now.
    pub fn repeated(&self) -> bool {
        self.value.is_none()
    }

    /// What the function returned.
    ///
    /// # Errors
    /// [`TransactionError::Repeated`] if it was committed before; it is never that without
    /// [`Transaction::once`].
    pub fn into_value(self) -> Result<T, TransactionError> {
        self.value.ok_or(TransactionError::Repeated)
    }
}

/// Under which a transaction is committed once: made of a received event, or of a text of your own
/// of 1 byte to 1 KiB, such as the id of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceKey(String);

impl From<&str> for OnceKey {
    fn from(key: &str) -> Self {
        OnceKey(key.to_owned())
    }
}

impl From<String> for OnceKey {
    fn from(key: String) -> Self {
        OnceKey(key)
    }
}

impl From<&ReceivedEvent> for OnceKey {
    /// Source and id, and the round, so that a replay is handled again. The subscription as well:
    /// two subscriptions of one window may each do something with the same event.
    fn from(event: &ReceivedEvent) -> Self {
        OnceKey(format!(
            "event/{}/{}/{}/{}",
            event.subscription(),
            event.replay_round(),
            event.source(),
            event.id()
        ))
    }
}

/// One try of a [`transaction()`].
pub struct Transaction<'a> {
    host: &'a mut dyn Host,
    /// What was read, each place once.
    seen: Vec<(Place, Option<Entry>)>,
    changes: Vec<Change>,
    events: Vec<Event>,
    cancel: Vec<String>,
    once: Option<String>,
}

impl<'a> Transaction<'a> {
    fn new(host: &'a mut dyn Host) -> Self {
        Transaction {
            host,
            seen: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
            cancel: Vec::new(),
            once: None,
        }
    }

    /// The value at `key`, as this transaction leaves it so far. It is checked at the commit.
    ///
    /// # Errors
    /// It cannot be read, or is no `T`.
    pub fn get<T: DeserializeOwned>(
        &mut self,
        store: &Store,
        key: &str,
    ) -> Result<Option<T>, TransactionError> {
        let bytes = self.get_bytes(store, key)?;
        let value = bytes.map(|bytes| decode(key, &bytes)).transpose();
        Ok(value?)
    }

    /// The bytes at `key`, as this transaction leaves them so far. They are checked at the commit.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn get_bytes(
        &mut self,
        store: &Store,
        key: &str,
    ) -> Result<Option<Vec<u8>>, TransactionError> {
        self.bytes_at(place(store, key))
    }

    fn bytes_at(&mut self, at: Place) -> Result<Option<Vec<u8>>, TransactionError> {
        // The last set or delete decides, and what was added after it.
        let mut added = Vec::new();
        let mut written = None;
        for change in self.changes.iter().rev() {
            match change {
                Change::Set((place, value)) if same(place, &at) => {
                    written = Some(Some(value.clone()))
                }
                Change::Delete(place) if same(place, &at) => written = Some(None),
                Change::Add((place, by)) if same(place, &at) => added.push(*by),
                _ => {}
            }
            if written.is_some() {
                break;
            }
        }
        let base = match written {
            Some(written) => written,
            None => self.seen_at(&at)?,
        };
        if added.is_empty() {
            return Ok(base);
        }
        let not_a_number = || host::Error::NotANumber(at.clone());
        let text = base.unwrap_or_else(|| b"0".to_vec());
        let base = std::str::from_utf8(&text)
            .ok()
            .and_then(|it| it.parse().ok());
        let mut sum: i64 = base.ok_or_else(not_a_number)?;
        for by in added.into_iter().rev() {
            sum = sum.checked_add(by).ok_or_else(not_a_number)?;
        }
        Ok(Some(sum.to_string().into_bytes()))
    }

    /// What the store has there: read once, so that it stays the same.
    fn seen_at(&mut self, at: &Place) -> Result<Option<Vec<u8>>, TransactionError> {
        let value = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.value.clone());
        if let Some((_, entry)) = self.seen.iter().find(|(place, _)| same(place, at)) {
            return Ok(value(entry));
        }
        let mut entries = self.host.read(std::slice::from_ref(at))?;
        let entry = entries.pop().flatten();
        let bytes = value(&entry);
        self.seen.push((at.clone(), entry));
        Ok(bytes)
    }

    /// Sets `key`, whether or not it exists.
    ///
    /// # Errors
    /// [`StoreError::NotAsExpected`] if `value` cannot be serialised.
    pub fn set<T: Serialize + ?Sized>(
        &mut self,
        store: &Store,
        key: &str,
        value: &T,
    ) -> Result<(), TransactionError> {
        let bytes = encode(key, value)?;
        self.set_bytes(store, key, bytes);
        Ok(())
    }

    /// Sets `key` to raw bytes.
    pub fn set_bytes(&mut self, store: &Store, key: &str, value: impl Into<Vec<u8>>) {
        let change = Change::Set((place(store, key), value.into()));
        self.changes.push(change);
    }

    /// Deletes `key`, if it exists.
    pub fn delete(&mut self, store: &Store, key: &str) {
        self.changes.push(Change::Delete(place(store, key)));
    }

    /// Adds `by` to the number at `key`, which is 0 if missing. The sum is in
    /// [`Committed::counters`]. Instances that only increment do not conflict; those that read the
    /// number as well do.
    pub fn increment(&mut self, store: &Store, key: &str, by: i64) {
        self.changes.push(Change::Add((place(store, key), by)));
    }

    /// Commits this once for `key`: if it was committed before, nothing is done, and
    /// [`Committed::value`] is none, whatever the function returns. `tx.once(&event)?` makes the
    /// effect of an event that is delivered twice the effect of one.
    ///
    /// The host remembers a key for 30 days at least.
    ///
    /// # Errors
    /// It was called before with another key.
    pub fn once(&mut self, key: impl Into<OnceKey>) -> Result<(), TransactionError> {
        let OnceKey(key) = key.into();
        match &self.once {
            Some(other) if *other != key => Err(invalid("a transaction has one 'once' key")),
            _ => {
                self.once = Some(key);
                Ok(())
            }
        }
    }

    /// Emits `event` with the commit.
    ///
    /// # Errors
    /// There are more than 256 of them.
    pub fn emit(&mut self, event: Event) -> Result<(), TransactionError> {
        if self.events.len() >= MAX_EVENTS {
            return Err(invalid("a transaction emits at most 256 events"));
        }
        self.events.push(event);
        Ok(())
    }

    /// Sets a timer: an event of the type `name` about `subject`, with `data` as JSON, that this
    /// window itself or another can subscribe to, and that comes after `delay`. A timer of the same
    /// name and subject that still waits is replaced.
    ///
    /// # Errors
    /// `data` cannot be serialised, or `name` has a slash, or there are too many events.
    pub fn timer<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        subject: &str,
        delay: Duration,
        data: &T,
    ) -> Result<(), TransactionError> {
        let key = timer_key(name, subject)?;
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let due_ms = now_ms().saturating_add(delay_ms);
        let event = Event::new(name, data)?.not_before_ms(due_ms).named(key);
        self.emit(match subject {
            "" => event,
            subject => event.subject(subject),
        })
    }

    /// Cancels the timer of that name and subject, if it waits.
    ///
    /// # Errors
    /// `name` has a slash.
    pub fn cancel(&mut self, name: &str, subject: &str) -> Result<(), TransactionError> {
        self.cancel.push(timer_key(name, subject)?);
        Ok(())
    }

    /// Whether a commit would do nothing that others can see.
    fn only_reads(&self) -> bool {
        let writes = !self.changes.is_empty() || !self.events.is_empty();
        !writes && self.cancel.is_empty() && self.once.is_none()
    }

    fn checks(&self) -> Vec<Check> {
        let seen = self.seen.iter().cloned();
        let checks = seen.map(|(at, entry)| Check {
            at,
            version: entry.map(|entry| entry.version),
        });
        checks.collect()
    }
}

/// Events of one transaction.
const MAX_EVENTS: usize = 256;

/// The host's name of a timer.
fn timer_key(name: &str, subject: &str) -> Result<String, TransactionError> {
    match name.contains('/') {
        true => Err(TransactionError::EventRefused(format!(
            "type: '{name}' is the name of a timer, which has no slash"
        ))),
        false => Ok(format!("{name}/{subject}")),
    }
}

fn invalid(why: &str) -> TransactionError {
    StoreError::Invalid(why.to_owned()).into()
}

fn place(store: &Store, key: &str) -> Place {
    Place {
        bucket: store.name().to_owned(),
        key: key.to_owned(),
    }
}

fn same(one: &Place, other: &Place) -> bool {
    one.bucket == other.bucket && one.key == other.key
}

#[cfg(test)]
mod tests;
