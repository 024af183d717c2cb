//! What a request and its answer are, for everybody who handles them. Nothing here knows a route, a
//! plugin or an upstream.
//!
//! `target`, `headers` and `origin` clean a head, once; `forwarded` helps to read it. `caller` and
//! `trace` name the request, and `stamp` passes all that to an upstream. `body` bounds what the
//! client sends, `upload` tracks its progress, `early` reads small bodies ahead. `rejection` is why
//! a request is refused before an upstream sees it. `outgoing` checks an answer last; `access`
//! follows it to its last byte, in `piece`s that may stay `untaken`.

pub mod access;
pub mod body;
pub mod caller;
pub mod early;
pub mod forwarded;
pub mod headers;
pub mod origin;
pub mod outgoing;
pub mod piece;
pub mod rejection;
pub mod stamp;
pub mod target;
pub mod trace;
pub mod untaken;
pub mod upload;
