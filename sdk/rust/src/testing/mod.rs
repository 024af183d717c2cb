//! Tests of a window in a real host, by plain `cargo test`. With the feature `testing`, in
//! `[dev-dependencies]`:
//!
//! ```toml
//! hms-window = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```no_run
//! use hms_window::testing::Window;
//! use serde_json::{Value, json};
//!
//! #[test]
//! fn payment_is_kept_for_its_owner() {
//!     let window = Window::new();
//!     let paid = window.post("/payments").user("alice").json(&json!({ "amount": 42 })).send();
//!     assert_eq!(paid.status(), 201);
//!     let id = paid.json::<Value>()["id"].as_str().unwrap().to_owned();
//!     assert_eq!(window.get(&format!("/payments/{id}")).user("bob").send().status(), 404);
//! }
//! # fn main() {}
//! ```
//!
//! The first test of a process builds the window by `cargo build` and starts one host beside the
//! tests, on a free port and over a folder that goes when the process ends. It is the `hms` of
//! `HMS_BIN`, or else of the PATH. Each [`Window`] is the same component under another name, so it
//! has a store, a log and grants of its own, and tests run side by side. A runner that starts a
//! process for each test, such as `cargo nextest`, has each of them start a host.
//!
//! - **Requests** go over HTTP through the gateway: [`Window::get`] and others. With
//!   [`Request::user`] they have a verified caller.
//! - **The store** is read and written by [`Window::store`], and what was emitted by
//!   [`Window::events`].
//! - **Events** are delivered by [`Window::deliver`], as those of another window.
//! - **Services** that the window asks are answered by the test: a [`Service`] is a server on this
//!   machine. So have the window take a service's URL from its configuration, and a test set it by
//!   [`Setup::config`]; in production it is what `windows/NAME.yaml` says.
//!
//! Whatever fails panics with what is wrong, as an assertion does. A function that needs no host is
//! tested as ever. The tests themselves run on this machine, not on wasm; the window does.

mod admin;
mod answer;
mod build;
mod deliver;
mod helper;
mod host;
mod request;
mod service;
mod setup;
mod store;
mod window;

pub use answer::Answer;
pub use deliver::Delivery;
pub use request::Request;
pub use service::{Call, Reply, Service};
pub use setup::Setup;
pub use store::TestStore;
pub use window::{Emitted, Window};
