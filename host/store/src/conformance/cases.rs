//! The cases, by subject.

mod keys;
mod limits;
mod lives;
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
    writes::a_store_has_what_was_written_and_nothing_else,
    writes::a_write_is_done_whole_or_not_at_all,
    writes::a_write_sees_its_own_earlier_steps,
    writes::a_swap_meets_the_version_that_it_expects_or_changes_nothing,
    writes::versions_grow_and_are_never_used_twice,
    writes::a_counter_is_decimal_text,
    writes::concurrent_increments_sum_up_exactly,
    writes::of_those_who_swap_the_same_version_one_wins,
    writes::a_write_whose_future_is_dropped_is_done,
    writes::a_read_of_many_shows_one_moment,
    keys::keys_are_listed_in_the_order_of_their_bytes,
    keys::pages_follow_one_another_by_their_last_key,
    keys::buckets_are_apart_however_alike_their_names,
    limits::names_and_values_over_their_limits_are_refused,
    limits::a_key_that_cannot_be_written_is_not_there,
    limits::a_call_is_bounded_in_steps_and_bytes,
    limits::a_full_store_refuses_growth_and_admits_what_shrinks_it,
    limits::what_an_entry_counts_is_exact,
    lives::stores_are_apart,
    lives::what_is_not_to_be_made_is_not_made,
    lives::a_store_comes_back_as_it_was_closed,
    lives::a_store_that_is_removed_while_open_refuses_its_holders_and_comes_back_empty,
    lives::the_list_tells_a_store_from_its_successor,
    lives::a_name_that_could_lead_elsewhere_is_refused,
    lives::a_copy_has_what_was_acknowledged,
}
