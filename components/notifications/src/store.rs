//! Where messages lie in the store.
//!
//! - `notifications/USER`: the messages of one user, by id.
//! - `unsent/USER`: the ids of those that were not sent, so that they are found without looking at
//!   all others.
//!
//! An instance can be ended at any point. So an id is noted as unsent before its message is kept,
//! and that is removed after the message says `sent`. A note too many is harmless: the message
//! decides.

use crate::message::{Message, Outcome, Status};
use hms_window::{Caller, Problem, Store, StoreError, now_ms};

/// The messages of one user.
pub struct Messages {
    all: Store,
    unsent: Store,
}

impl Messages {
    pub fn of(caller: &Caller) -> Result<Self, StoreError> {
        Ok(Messages {
            all: caller.store("notifications")?,
            unsent: caller.store("unsent")?,
        })
    }

    pub fn add(&self, message: &Message) -> Result<(), StoreError> {
        self.unsent.set(&message.id, &())?;
        self.all.set(&message.id, message)
    }

    /// 404 if there is none.
    pub fn get(&self, id: &str) -> Result<Message, Problem> {
        self.all.get(id)?.ok_or_else(Problem::not_found)
    }

    /// The message after `outcome`.
    pub fn record(&self, id: &str, outcome: &Outcome) -> Result<Message, Problem> {
        let message = self.all.try_update(id, |old: Option<Message>| {
            let old = old.ok_or_else(Problem::not_found)?;
            Ok::<_, Problem>(old.after(outcome, now_ms()))
        })?;
        if message.status == Status::Sent {
            self.unsent.delete(id)?;
        }
        Ok(message)
    }

    /// A page of those with this status, the oldest first, and the cursor of the next. It may have
    /// fewer than `limit` while there is a next.
    pub fn page(
        &self,
        status: Option<Status>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Message>, Option<String>), StoreError> {
        let part = match status {
            None | Some(Status::Sent) => &self.all,
            Some(Status::Queued | Status::Failed) => &self.unsent,
        };
        let page = part.page(cursor, limit)?;
        let found: Vec<Option<Message>> = self.all.get_many(&page.keys)?;
        let wanted = |message: &Message| status.is_none_or(|status| message.status == status);
        let found = found.into_iter().flatten().filter(wanted).collect();
        Ok((found, page.next))
    }
}
