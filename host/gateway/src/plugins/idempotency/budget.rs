//! The memory of requests with keys: one bound for all, and a share of it for each holder.

use super::key::Owner;
use crate::metrics::{ShareHits, Whose};
use bytes::Bytes;
use hms_core::body::{self, Body};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// A holder may have a quarter of what is free. One holder alone gets a fifth of the whole, and `n`
/// greedy ones each `1 / (n + 4)`. So something is always free for those who hold less, and the
/// heaviest are refused first.
pub(super) const SHARE_OF_FREE: u64 = 4;

/// The part that client addresses may have together, so that authenticated callers find room
/// however many addresses there are. One address alone gets a fifth of that part.
pub(super) const ADDRESSES_SHARE: u64 = 2;

/// A bound on what all hold together.
#[derive(Clone)]
pub(super) struct Budget {
    books: Arc<Mutex<Books>>,
    /// Its name in metrics.
    of: &'static str,
    hits: ShareHits,
}

struct Books {
    limit: u64,
    held: u64,
    /// The part held by addresses.
    addresses: u64,
    /// Only holders with a positive amount.
    holders: HashMap<Owner, u64>,
}

impl Budget {
    pub(super) fn new(limit: u64, of: &'static str, hits: ShareHits) -> Self {
        let books = Books {
            limit,
            held: 0,
            addresses: 0,
            holders: HashMap::new(),
        };
        Budget {
            books: Arc::new(Mutex::new(books)),
            of,
            hits,
        }
    }

    /// An empty holding of `owner`.
    pub(super) fn hold(&self, owner: Owner) -> Held {
        Held {
            budget: self.clone(),
            owner,
            amount: 0,
        }
    }
}

impl Books {
    fn grow(&mut self, owner: Owner, more: u64) -> Result<(), Whose> {
        let held = self.held.saturating_add(more);
        let mut free = self.limit.checked_sub(held).ok_or(Whose::Host)?;
        let mut addresses = self.addresses;
        if owner.is_address {
            addresses = addresses.saturating_add(more);
            let theirs = self.limit / ADDRESSES_SHARE;
            free = free.min(theirs.checked_sub(addresses).ok_or(Whose::Host)?);
        }
        let mine = self.holders.get(&owner).copied().unwrap_or(0);
        if mine.saturating_add(more) > free / SHARE_OF_FREE {
            // A holder of nothing has not used anything up.
            return Err(if mine > 0 { Whose::Caller } else { Whose::Host });
        }
        self.held = held;
        self.addresses = addresses;
        self.holders.insert(owner, mine + more);
        Ok(())
    }

    fn shrink(&mut self, owner: Owner, less: u64) {
        self.held = self.held.saturating_sub(less);
        if owner.is_address {
            self.addresses = self.addresses.saturating_sub(less);
        }
        if let Some(mine) = self.holders.get_mut(&owner) {
            *mine = mine.saturating_sub(less);
            if *mine == 0 {
                self.holders.remove(&owner);
            }
        }
    }
}

/// The amount of one holder, returned on drop.
pub(super) struct Held {
    budget: Budget,
    owner: Owner,
    amount: u64,
}

impl Held {
    /// Adds `more`.
    ///
    /// # Errors
    ///
    /// If that exceeds a bound, whose it is. Nothing of `more` is then held.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Whose> {
        let more = more as u64;
        if more == 0 {
            return Ok(());
        }
        let grown = self.budget.books.lock().grow(self.owner, more);
        match grown {
            Ok(()) => self.amount += more,
            Err(whose) => self.budget.hits.hit(self.budget.of, whose),
        }
        grown
    }

    /// `bytes`, charged until their last part is dropped: a server keeps what it writes longer than
    /// the body that it came from.
    pub(super) fn bytes(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(HeldBytes { bytes, _held: self })
    }

    /// The same as a body.
    pub(super) fn body(self, bytes: Bytes) -> Body {
        body::full(self.bytes(bytes))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.budget.books.lock().shrink(self.owner, self.amount);
        }
    }
}

struct HeldBytes {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::holder::Holder;
    use proptest::prelude::*;

    fn owner(number: usize) -> Owner {
        Owner::of(&Holder::User(number.to_string().into()))
    }

    fn address(number: u32) -> Owner {
        Owner::of(&Holder::Address(std::net::Ipv4Addr::from(number).into()))
    }

    fn budget(limit: u64) -> Budget {
        Budget::new(limit, "test", ShareHits::default())
    }

    #[test]
    fn dropped_hold_gives_back_exactly_what_it_took() {
        let budget = budget(100);
        let (mut one, mut other) = (budget.hold(owner(1)), budget.hold(owner(1)));
        one.grow(12).unwrap();
        assert_eq!(other.grow(9), Err(Whose::Caller));
        other.grow(8).unwrap();
        drop(one);
        assert_eq!(other.grow(13), Err(Whose::Caller));
        other.grow(12).unwrap();
        let mut sent = other.bytes(Bytes::from_static(b"0123456789"));
        let written = sent.split_to(5);
        drop(sent);
        assert_eq!(budget.hold(owner(1)).grow(1), Err(Whose::Caller));
        drop(written);
        budget.hold(owner(1)).grow(20).unwrap();
        assert!(budget.books.lock().holders.is_empty());
        assert_eq!(budget.hold(owner(1)).grow(101), Err(Whose::Host));
    }

    #[test]
    fn greedy_callers_are_refused_first_and_some_memory_stays_free() {
        let budget = budget(256 << 20);
        let frame = 16 << 10;
        let mut greedy: Vec<Held> = (0..64).map(|i| budget.hold(owner(i % 8))).collect();
        let mut grows = true;
        while grows {
            grows = false;
            for held in &mut greedy {
                grows |= held.grow(frame).is_ok();
            }
        }
        // Each has a twelfth.
        let twelfth = (256 << 20) / 12;
        let all = budget.books.lock().holders.clone();
        assert!(
            all.values().all(|held| held.abs_diff(twelfth) < 1 << 20),
            "{all:?}"
        );
        let mut modest = budget.hold(owner(100));
        modest.grow(4 << 20).unwrap();
    }

    #[test]
    fn addresses_leave_half_the_budget_to_identified_callers() {
        let budget = budget(1000);
        let mut all = Vec::new();
        for number in 0..1000 {
            let mut held = budget.hold(address(number));
            while held.grow(1).is_ok() {}
            all.push(held);
        }
        let amounts = all.iter().map(|held| held.amount);
        assert_eq!(amounts.clone().max(), Some(100), "a tenth for the first");
        assert!((490..=500).contains(&amounts.sum::<u64>()));
        assert_eq!(budget.hold(address(1000)).grow(1), Err(Whose::Host));
        let mut alice = budget.hold(owner(1));
        alice.grow(100).unwrap();
        drop(all);
        budget.hold(address(1000)).grow(100).unwrap();
    }

    proptest! {
        #[test]
        fn books_match_what_is_held(
            steps in prop::collection::vec((0_usize..6, 0_usize..400, any::<bool>()), 1..300),
        ) {
            let budget = budget(1000);
            let mut all: Vec<Held> = Vec::new();
            for (who, amount, drops) in steps {
                if drops && !all.is_empty() {
                    all.swap_remove(amount % all.len());
                } else {
                    let who = if who < 3 { owner(who) } else { address(who as u32) };
                    let mut held = budget.hold(who);
                    if held.grow(amount).is_ok() {
                        all.push(held);
                    }
                }
                let books = budget.books.lock();
                prop_assert!(books.held <= books.limit);
                prop_assert_eq!(books.held, all.iter().map(|held| held.amount).sum::<u64>());
                prop_assert_eq!(books.held, books.holders.values().sum::<u64>());
                let addresses = books.holders.iter().filter(|(who, _)| who.is_address);
                prop_assert_eq!(books.addresses, addresses.map(|(_, held)| *held).sum::<u64>());
                prop_assert!(books.addresses <= books.limit / ADDRESSES_SHARE);
                prop_assert!(books.holders.values().all(|held| *held > 0));
            }
        }
    }
}
