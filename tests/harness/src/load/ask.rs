//! What is asked, and over which connection: the same mix in every run.

use crate::dice::Dice;
use http::Method;
use std::time::Duration;

/// One request to the guest `marked`.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub turn: u32,
    pub what: What,
    pub way: Way,
}

/// What is asked for; times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// An answer at once.
    Now,
    /// An answer after a while.
    Sleep { ms: u64 },
    /// An answer of many pieces with a pause after each.
    Stream { pieces: u64, ms: u64 },
    /// An answer of many KiB as fast as it goes, whose length is told before.
    Big { blocks: u64 },
    /// An upload of known bytes in pieces with a pause before each, which comes back.
    Echo { pieces: u64, bytes: usize, ms: u64 },
}

/// Over which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// HTTP/1.1, one that has served others and will serve more.
    KeepAlive,
    /// HTTP/1.1, one of its own.
    Fresh,
    /// HTTP/2 by prior knowledge, together with others.
    Http2,
}

impl Ask {
    /// The request of that turn.
    pub(super) fn of(turn: u32) -> Ask {
        let mut dice = Dice(u64::from(turn));
        let what = match dice.below(100) {
            0..55 => What::Now,
            55..72 => What::Sleep {
                ms: 1 + dice.below(200),
            },
            72..77 => What::Sleep {
                ms: 1000 + dice.below(2000),
            },
            77..89 => What::Stream {
                pieces: 5 + dice.below(15),
                ms: 50 + dice.below(100),
            },
            89..94 => What::Big {
                blocks: 4 + dice.below(60),
            },
            94..97 => What::Echo {
                pieces: 1,
                bytes: 64 << 10,
                ms: 0,
            },
            _ => What::Echo {
                pieces: 5 + dice.below(15),
                bytes: 4 << 10,
                ms: 50 + dice.below(50),
            },
        };
        let way = match dice.below(100) {
            0..50 => Way::KeepAlive,
            50..75 => Way::Fresh,
            _ => Way::Http2,
        };
        Ask { turn, what, way }
    }

    pub(super) fn method(&self) -> Method {
        match self.what {
            What::Echo { .. } => Method::POST,
            _ => Method::GET,
        }
    }

    /// Path and query below the window's route.
    pub(super) fn path(&self) -> String {
        match self.what {
            What::Now => "/now".into(),
            What::Sleep { ms } => format!("/sleep?ms={ms}"),
            What::Stream { pieces, ms } => format!("/stream?pieces={pieces}&ms={ms}"),
            What::Big { blocks } => format!("/big?blocks={blocks}"),
            What::Echo { .. } => "/echo".into(),
        }
    }

    /// The time that it takes by what is asked for, without the host's share.
    pub(super) fn wished(&self) -> Duration {
        Duration::from_millis(match self.what {
            What::Now | What::Big { .. } => 0,
            What::Sleep { ms } => ms,
            What::Stream { pieces, ms } | What::Echo { pieces, ms, .. } => pieces * ms,
        })
    }

    /// What is uploaded: the number of the piece at its begin and the turn's own bytes behind.
    pub(super) fn upload(&self, piece: u64) -> Vec<u8> {
        let What::Echo { bytes, .. } = self.what else {
            return Vec::new();
        };
        let mut block = format!("{} {piece} ", self.turn).into_bytes();
        block.resize(bytes, b'a' + (self.turn % 26) as u8);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_hundred_turns_cover_every_request_on_every_connection_kind() {
        let all: Vec<Ask> = (0..300).map(Ask::of).collect();
        for way in [Way::KeepAlive, Way::Fresh, Way::Http2] {
            let some = |of: fn(&What) -> bool| {
                assert!(all.iter().any(|ask| ask.way == way && of(&ask.what)));
            };
            some(|what| matches!(what, What::Now));
            some(|what| matches!(what, What::Sleep { ms: 1000.. }));
            some(|what| matches!(what, What::Stream { .. }));
            some(|what| matches!(what, What::Big { .. }));
            some(|what| matches!(what, What::Echo { ms: 0, .. }));
            some(|what| matches!(what, What::Echo { ms: 1.., .. }));
        }
    }
}
