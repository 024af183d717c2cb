//! What a transaction asks of the host, as a trait, so that tests can stand in for it.

use super::error::TransactionError;
use crate::StoreError;

use crate::bindings::events::hms::store::transactions;
pub(crate) use crate::bindings::events::hms::store::transactions::{
    Change, Check, Committed, Entry, Error, Event, Place, Transaction,
};

/// The two functions of `hms:store/transactions`.
pub(super) trait Host {
    /// One entry for each place, from one moment.
    fn read(&mut self, places: &[Place]) -> Result<Vec<Option<Entry>>, Error>;

    /// All or nothing.
    fn commit(&mut self, transaction: &Transaction) -> Result<Committed, Error>;
}

/// The host of this window.
pub(super) struct Window;

impl Host for Window {
    fn read(&mut self, places: &[Place]) -> Result<Vec<Option<Entry>>, Error> {
        transactions::read(places)
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<Committed, Error> {
        transactions::commit(transaction)
    }
}

impl From<Error> for TransactionError {
    fn from(error: Error) -> Self {
        let store = match error {
            Error::OutboxFull(text) => return TransactionError::OutboxFull(text),
            Error::EventRefused(text) => return TransactionError::EventRefused(text),
            Error::Unknown(text) => return TransactionError::Unknown(text),
            Error::Conflict(places) => {
                let first = places.into_iter().next();
                let key = first.map(|place| place.key).unwrap_or_default();
                StoreError::Contended { key }
            }
            Error::NotANumber(place) => StoreError::Invalid(format!(
                "the value of '{}' is not a number of 64 bits, or would not be one",
                place.key
            )),
            Error::TooLarge(text) => StoreError::Invalid(text),
            Error::StoreFull(text) => StoreError::Full(text),
            Error::Other(text) => StoreError::from_message(text),
        };
        TransactionError::Store(store)
    }
}
