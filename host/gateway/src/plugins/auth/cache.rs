//! Recently verified tokens, so that a client's next request costs a hash instead of a signature.
//!
//! An entry is valid for one key set: each set has a generation, and tokens verified by an older
//! one are verified again. Refused tokens are not cached, so nonsense fills nothing.

use crate::request::caller::Caller;
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Enough that threads seldom wait for each other.
const SHARDS: usize = 16;

/// Tokens per shard, 16,384 in all: as many concurrent callers as one host serves. With the next
/// constant, at most 20 MiB.
const MAX_ENTRIES: usize = 1024;

/// Bytes of a cached caller. Real ones have some hundred; a token with more scopes is verified each
/// time.
const MAX_CALLER_BYTES: usize = 1024;

/// The result of verifying a token.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verified {
    pub caller: Caller,
    /// `exp`, in seconds since 1970, without leeway.
    pub expiry_s: u64,
    /// The index of its issuer.
    pub issuer: usize,
    /// The generation of the key set that verified it.
    pub generation: u64,
}

/// SHA-256 of a token. The token itself is not kept.
pub(super) type Name = [u8; 32];

pub(super) fn name(token: &str) -> Name {
    Sha256::digest(token).into()
}

/// The cached tokens.
pub(super) struct Cache {
    shards: [Mutex<HashMap<Name, Verified>>; SHARDS],
    max_entries: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self::with_room(MAX_ENTRIES)
    }
}

impl Cache {
    /// `max_entries` is per shard.
    fn with_room(max_entries: usize) -> Self {
        Cache {
            shards: Default::default(),
            max_entries,
        }
    }

    /// The entry of a token at the time `now_s`, never past its `exp`. The caller must check that
    /// its key set is still current.
    pub(super) fn get(&self, name: &Name, now_s: u64) -> Option<Verified> {
        let mut shard = self.shard(name)?;
        let found = shard.get(name)?;
        if now_s >= found.expiry_s {
            shard.remove(name);
            return None;
        }
        Some(found.clone())
    }

    /// Caches a token. If there is no room, expired entries are removed, or else the one that would
    /// expire first.
    pub(super) fn put(&self, name: Name, verified: Verified, now_s: u64) {
        if verified.expiry_s <= now_s || bytes(&verified.caller) > MAX_CALLER_BYTES {
            return;
        }
        let Some(mut shard) = self.shard(&name) else {
            return;
        };
        if shard.len() >= self.max_entries && !shard.contains_key(&name) {
            shard.retain(|_, kept| now_s < kept.expiry_s);
            if shard.len() >= self.max_entries {
                let first = shard.iter().min_by_key(|(_, kept)| kept.expiry_s);
                if let Some(first) = first.map(|(name, _)| *name) {
                    shard.remove(&first);
                }
            }
        }
        shard.insert(name, verified);
    }

    fn shard(&self, name: &Name) -> Option<MutexGuard<'_, HashMap<Name, Verified>>> {
        let [first, ..] = name;
        let shard = self.shards.get(usize::from(*first) % SHARDS)?;
        Some(shard.lock())
    }
}

/// The approximate size of a caller in memory.
fn bytes(caller: &Caller) -> usize {
    let scopes = caller.scopes.iter();
    caller.user.len()
        + scopes
            .map(|scope| scope.len() + size_of::<String>())
            .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verified(user: &str, expiry_s: u64) -> Verified {
        Verified {
            caller: Caller {
                user: user.into(),
                scopes: Vec::new(),
            },
            expiry_s,
            issuer: 0,
            generation: 1,
        }
    }

    fn len(cache: &Cache) -> usize {
        cache.shards.iter().map(|s| s.lock().len()).sum()
    }

    #[test]
    fn cache_evicts_the_entry_that_expires_first() {
        let cache = Cache::with_room(2);
        // All in one shard.
        let name = |n: u8| {
            let mut name = [0; 32];
            name[1] = n;
            name
        };
        for (n, expiry) in [(1, 50), (2, 20), (3, 90)] {
            cache.put(name(n), verified("a", expiry), 10);
        }
        assert!(cache.get(&name(2), 10).is_none());
        assert!(cache.get(&name(1), 10).is_some() && cache.get(&name(3), 10).is_some());
        cache.put(name(4), verified("a", 60), 55);
        assert!(
            cache.get(&name(3), 55).is_some(),
            "what has expired goes first"
        );
    }

    #[test]
    fn oversized_caller_is_not_cached() {
        let cache = Cache::default();
        let mut large = verified("a", 100);
        large.caller.scopes = vec!["x".into(); 100];
        cache.put(name("large"), large, 10);
        assert_eq!(len(&cache), 0);
    }

    proptest! {
        /// Tokens come and are asked for while time passes, as a plain list remembers it all.
        #[test]
        fn cache_serves_no_expired_or_foreign_entry_and_keeps_its_bound(
            steps in proptest::collection::vec((0..200u32, 0..50u64, 0..3u64, any::<bool>()), 0..300),
        ) {
            let cache = Cache::with_room(3);
            let mut put: HashMap<u32, u64> = HashMap::new();
            let mut now = 1000;
            for (token, life, pause, asks) in steps {
                now += pause;
                let name = name(&token.to_string());
                if asks {
                    if let Some(found) = cache.get(&name, now) {
                        prop_assert!(now < found.expiry_s);
                        prop_assert_eq!(&found.caller.user, &token.to_string());
                        prop_assert_eq!(put.get(&token), Some(&found.expiry_s));
                    }
                } else {
                    cache.put(name, verified(&token.to_string(), now + life), now);
                    if life > 0 {
                        put.insert(token, now + life);
                        prop_assert!(cache.get(&name, now).is_some());
                    }
                }
                prop_assert!(len(&cache) <= 3 * SHARDS);
            }
        }
    }
}
