//! Copies the log for a backup, and checks it.

use super::super::layout::{View, copy_table, counter};
use super::super::once_cost;
use super::super::snapshot::Stop;
use super::{EVENTS, LAST, LOG_BYTES, NAMES, ONCE, ONCE_TIMES, WAITING, row};
use redb::{Database, ReadableTable, ReadableTableMetadata};

/// Copies the tables of the log, of a file that has them, into `to`. Returns what the `once` keys
/// count against the bytes stored.
pub(in super::super) fn copy(
    view: &View,
    meta: &impl ReadableTable<&'static str, u64>,
    to: &Database,
    step: &mut dyn FnMut(u64) -> Result<(), Stop>,
) -> Result<u64, Stop> {
    let damaged = |what: &str| Stop::Damaged(what.into());
    let table_missing = || damaged("a table of its log is missing");
    let (mut bytes, mut unreadable) = (0_u64, None);
    let mut weigh = |row: &[u8]| match row::weigh(row) {
        Ok(row) => bytes = bytes.saturating_add(row.cost),
        Err(fault) => unreadable = Some(fault),
    };

    let events = view.table(EVENTS).map_err(Stop::Source)?;
    let events = events.ok_or_else(table_missing)?;
    let mut next = events.first()?.map(|(first, _)| first.value());
    let mut is_dense = true;
    copy_table(&events, to, EVENTS, step, &mut |sequence, row| {
        is_dense &= next == Some(*sequence);
        next = Some(sequence.saturating_add(1));
        weigh(row);
    })?;
    let last = counter(meta, LAST).map_err(Stop::Source)?;
    let is_last = next.is_none_or(|next| next == last.saturating_add(1));

    let waiting = view.table(WAITING).map_err(Stop::Source)?;
    let waiting = waiting.ok_or_else(table_missing)?;
    copy_table(&waiting, to, WAITING, step, &mut |_, row| weigh(row))?;
    if let Some(fault) = unreadable {
        return Err(Stop::Source(fault));
    }
    if !is_dense || !is_last {
        return Err(damaged("an event in it is missing"));
    }
    if bytes != counter(meta, LOG_BYTES).map_err(Stop::Source)? {
        return Err(damaged("the sum of its log is not that of its events"));
    }

    let names = view.table(NAMES).map_err(Stop::Source)?;
    let names = names.ok_or_else(table_missing)?;
    let (mut lost, mut fault) = (false, None);
    copy_table(
        &names,
        to,
        NAMES,
        step,
        &mut |_, due| match ReadableTable::get(&waiting, due) {
            Ok(row) => lost |= row.is_none(),
            Err(error) => fault = Some(error),
        },
    )?;
    if let Some(error) = fault {
        return Err(error.into());
    }
    if lost {
        return Err(damaged("an event with a name is missing"));
    }

    let once = view.table(ONCE).map_err(Stop::Source)?;
    let once = once.ok_or_else(table_missing)?;
    let mut once_bytes = 0_u64;
    copy_table(&once, to, ONCE, step, &mut |once, _| {
        once_bytes = once_bytes.saturating_add(once_cost(once));
    })?;
    let times = view.table(ONCE_TIMES).map_err(Stop::Source)?;
    let times = times.ok_or_else(table_missing)?;
    copy_table(&times, to, ONCE_TIMES, step, &mut |_, ()| {})?;
    match times.len()? == once.len()? {
        true => Ok(once_bytes),
        false => Err(damaged("a once key in it has no time")),
    }
}
