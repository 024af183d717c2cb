//! The real `hms`, on port 0, over real sockets, with real components.
//!
//! [`hms_harness`] starts hosts and speaks HTTP; each other module is one promise to the users.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test, which fails by a panic"
)]

mod admin_api;
mod answers;
mod artifacts;
mod authors;
mod backup;
mod backup_races;
mod cache;
mod canary;
mod card_payments;
mod collector;
mod course;
mod crash;
mod crash_of_operations;
mod dashboard;
mod data_folder;
mod deploys;
mod descriptors;
mod documents;
mod egress;
mod events;
mod events_operators;
mod exercise;
mod fetch;
mod folder_watch;
mod folders;
mod foreign_guests;
mod grants;
mod grpc;
mod idempotency;
mod identity;
mod inspect;
mod isolation;
mod issuers;
mod languages;
mod ledger;
mod limits;
mod log_lines;
mod middleware;
mod neighbours;
mod new;
mod news;
mod notifications;
mod operators;
mod outgoing;
mod passports;
mod projects;
mod prometheus;
mod providers;
mod readme;
mod releases;
mod reuse;
mod routes;
mod shutdown;
mod slow_clients;
mod start_errors;
mod store_faults;
mod telemetry;
mod telemetry_otel;
mod transactions;
mod up;
