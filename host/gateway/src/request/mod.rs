//! What a request and its answer are, for all who handle them. Nothing here knows a route, a plugin
//! or an upstream.
//!
//! `target`, `headers` and `origin` make a head clean, once, with `fields` and `forwarded` to read
//! it; `caller` and `trace` name it, and `stamp` says all that to an upstream. `body` bounds what
//! the client sends, `upload` says how far that is, `early` reads a small one ahead. `rejection` says
//! why a request is refused before an upstream sees it. `outgoing` is
//! the last look at an answer; `access` takes it to its last byte, in `piece`s that may stay
//! `untaken`.

pub mod access;
pub mod body;
pub mod caller;
pub mod early;
pub mod fields;
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
