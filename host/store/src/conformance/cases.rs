//! The cases, by subject.

mod keys;
mod limits;
mod lives;
mod log;
mod transactions;
mod writes;

use super::Subject;
use std::pin::Pin;

/// One thing that a backend must do.
pub type Case = for<'a> fn(&'a Subject<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! cases {
    ($($subject:ident::$name:ident,)*) => {
        /// All of them, by name.
        pub const CASES: &[(&str, Case)] = &[
            $((stringify!($name), |on| Box::pin($subject::$name(on))),)*
        ];
    };
}

cases! {
    writes::store_holds_what_was_written_and_nothing_else,
    writes::write_is_atomic,
    writes::write_sees_its_own_earlier_steps,
    writes::swap_applies_only_to_the_expected_version,
    writes::versions_increase_and_are_never_reused,
    writes::counter_is_decimal_text,
    writes::concurrent_increments_sum_up_exactly,
    writes::concurrent_swaps_of_one_version_have_one_winner,
    writes::write_with_a_dropped_future_is_applied,
    writes::batch_read_shows_one_moment,
    keys::keys_are_listed_in_the_order_of_their_bytes,
    keys::pages_follow_one_another_by_their_last_key,
    keys::buckets_with_similar_names_are_separate,
    limits::oversized_names_and_values_are_rejected,
    limits::unwritable_key_reads_as_absent,
    limits::call_is_bounded_in_steps_and_bytes,
    limits::full_store_rejects_growth_and_accepts_shrinking,
    limits::entry_size_is_counted_exactly,
    lives::stores_are_separate,
    lives::missing_store_is_created_only_on_request,
    lives::reopened_store_is_as_it_was_closed,
    lives::store_removed_while_open_rejects_its_holders_and_reopens_empty,
    lives::list_distinguishes_a_store_from_its_successor,
    lives::unsafe_store_name_is_rejected,
    lives::copy_holds_acknowledged_writes,
    transactions::transaction_does_all_or_nothing,
    transactions::conflict_names_every_place_that_failed,
    transactions::swap_in_a_transaction_is_a_check_and_a_set,
    transactions::once_key_commits_once,
    transactions::places_are_read_over_buckets_in_one_moment,
    transactions::transaction_is_bounded_in_every_part,
    transactions::full_store_takes_transactions_that_shrink_it,
    log::log_is_dense_under_concurrent_transactions,
    log::page_of_the_log_is_bounded_by_count_and_bytes,
    log::event_keeps_all_that_was_said,
    log::due_events_are_appended_in_the_order_of_their_times,
    log::waiting_event_is_replaced_and_cancelled_by_its_name,
    log::full_outbox_drops_only_what_nobody_needs,
    log::old_events_and_once_keys_are_trimmed,
    log::reopened_log_is_as_it_was_closed,
    log::successor_of_a_removed_store_repeats_no_id,
    log::observers_are_told_of_every_change,
}
