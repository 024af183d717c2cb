//! Listing keys a few at a time. The host chooses the size of its pages and hands out cursors that
//! say nothing to us; what a client asks for is smaller. So our cursor is the host's cursor of a
//! page and the last key taken from it.

use crate::StoreError;

/// A few keys, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub keys: Vec<String>,
    /// What to hand in for the keys after these; nothing when these are the last. It is opaque, and
    /// not a secret.
    pub next: Option<String>,
}

/// Up to `limit` keys after `cursor`, from pages that `fetch` gives by the host's own cursor.
pub(crate) fn page(
    cursor: Option<&str>,
    limit: usize,
    mut fetch: impl FnMut(Option<&str>) -> Result<Page, StoreError>,
) -> Result<Page, StoreError> {
    let (last, mut host) = match cursor.map(decode) {
        None => (None, None),
        Some(Some((last, host))) => (Some(last), host),
        Some(None) => return Err(StoreError::InvalidCursor),
    };
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = fetch(host.as_deref())?;
        for key in page.keys {
            if last.as_ref().is_some_and(|last| key <= *last) {
                continue;
            }
            if keys.len() >= limit.max(1) {
                let next = keys.last().map(|last| encode(last, host.as_deref()));
                return Ok(Page { keys, next });
            }
            keys.push(key);
        }
        match page.next {
            Some(next) => host = Some(next),
            None => return Ok(Page { keys, next: None }),
        }
    }
}

/// `LENGTH.KEY` and the host's cursor: for keys and cursors that are fit for a URL, so is this.
fn encode(last: &str, host: Option<&str>) -> String {
    format!("{}.{last}{}", last.len(), host.unwrap_or_default())
}

fn decode(cursor: &str) -> Option<(String, Option<String>)> {
    let (length, rest) = cursor.split_once('.')?;
    let (last, host) = rest.split_at_checked(length.parse().ok()?)?;
    Some((last.to_owned(), (!host.is_empty()).then(|| host.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with `count` keys that lists `size` of them a page; its cursor is a number.
    fn host(count: usize, size: usize) -> impl Fn(Option<&str>) -> Result<Page, StoreError> {
        move |cursor| {
            let from = cursor.map_or(0, |cursor| cursor.parse().unwrap());
            let to = count.min(from + size);
            let keys = (from..to).map(|key| format!("{key:02}")).collect();
            Ok(Page {
                keys,
                next: (to < count).then(|| to.to_string()),
            })
        }
    }

    #[test]
    fn pages_of_any_size_show_every_key_once_and_in_order() {
        for (count, size, limit) in
            (0..25).flat_map(|c| (1..8).flat_map(move |s| (1..8).map(move |l| (c, s, l))))
        {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = page(cursor.as_deref(), limit, host(count, size)).unwrap();
                assert!(
                    page.keys.len() == limit || page.next.is_none(),
                    "a page is full or the last"
                );
                seen.extend(page.keys);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            let all: Vec<_> = (0..count).map(|key| format!("{key:02}")).collect();
            assert_eq!(seen, all, "{count} keys by {size}, asked for {limit}");
        }
    }

    #[test]
    fn foreign_cursor_is_rejected() {
        for wrong in ["", "x", "9.abc", "-1.a", "1.é"] {
            let outcome = page(Some(wrong), 5, host(3, 2));
            assert!(
                matches!(outcome, Err(StoreError::InvalidCursor)),
                "{wrong:?}: {outcome:?}"
            );
        }
    }
}
