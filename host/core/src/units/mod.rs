//! Sizes, times, shares and networks as people write them: on the command line, in manifests, in
//! the admin API. Each type is parsed and printed here alone, and reads what it prints.
//!
//! An error says what is wrong and what to write instead. Where the text stood is said by whoever
//! parses it.

mod amount;
mod lifetime;
mod network;
mod share;
mod size;
mod text;
mod time;

pub use lifetime::Lifetime;
pub use network::network;
pub use share::TrafficShare;
pub use size::Size;
pub use time::Time;
