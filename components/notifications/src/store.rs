//! Where messages lie in the store.
//!
//! - `notifications/USER`: the messages of one user, by id.
//! - `unsent/USER`: the ids of those that are to be sent and were not, so that they are found
//!   without looking at all others.
//!
//! Both change together, in one transaction.

use crate::message::{Message, Outcome, Status};
use hms_window::{Problem, Store, StoreError, Transaction, TransactionError, now_ms, transaction};

/// The messages of one user.
pub struct Messages {
    all: Store,
    unsent: Store,
}

impl Messages {
    pub fn of(user: &str) -> Result<Self, StoreError> {
        Ok(Messages {
            all: Store::open(&format!("notifications/{user}"))?,
            unsent: Store::open(&format!("unsent/{user}"))?,
        })
    }

    pub fn add(&self, message: &Message) -> Result<(), TransactionError> {
        transaction(|tx| self.put(tx, message))?;
        Ok(())
    }

    /// 404 if there is none.
    pub fn get(&self, id: &str) -> Result<Message, Problem> {
        self.all.get(id)?.ok_or_else(Problem::not_found)
    }

    /// The message after `outcome`.
    pub fn record(&self, id: &str, outcome: &Outcome) -> Result<Message, Problem> {
        let recorded = transaction(|tx| {
            let old: Message = tx.get(&self.all, id)?.ok_or_else(Problem::not_found)?;
            let message = old.after(outcome, now_ms());
            self.put(tx, &message)?;
            Ok(message)
        })?;
        Ok(recorded.into_value()?)
    }

    pub fn put(&self, tx: &mut Transaction<'_>, message: &Message) -> Result<(), TransactionError> {
        tx.set(&self.all, &message.id, message)?;
        match message.status {
            Status::Queued | Status::Failed => tx.set(&self.unsent, &message.id, &()),
            Status::Sent | Status::InApp => {
                tx.delete(&self.unsent, &message.id);
                Ok(())
            }
        }
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
            None | Some(Status::Sent | Status::InApp) => &self.all,
            Some(Status::Queued | Status::Failed) => &self.unsent,
        };
        let page = part.page(cursor, limit)?;
        let found: Vec<Option<Message>> = self.all.get_many(&page.keys)?;
        let wanted = |message: &Message| status.is_none_or(|status| message.status == status);
        let found = found.into_iter().flatten().filter(wanted).collect();
        Ok((found, page.next))
    }
}
