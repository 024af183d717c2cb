//! What the clock does to a log.

use super::super::fault::Fault;
use super::super::layout::Tables;
use super::super::{Committed, LogBounds, StoreLimits, once_cost};
use super::row;
use redb::ReadableTable;

/// Events, and `once` keys, that one call of [`trim`] drops, if the events have no more bytes than
/// a commit takes. 2,048: a few milliseconds, for which the writes of the window wait.
const MAX_TRIMMED: usize = 2_048;

/// As [`Store::promote_due`](super::super::Store::promote_due).
pub(in super::super) fn promote(
    tables: &mut Tables<'_>,
    now_ms: u64,
    limit: usize,
    limits: &StoreLimits,
) -> Result<Committed, Fault> {
    let mut done = Committed {
        version: tables.version,
        ..Committed::default()
    };
    let Some(log) = tables.log()? else {
        return Ok(done);
    };
    let limit = limit.clamp(1, limits.max_events_per_page);
    let mut bytes = 0_u64;
    while done.event_ids.len() < limit && bytes <= limits.group_bytes as u64 {
        let Some((due, event)) = log.take_due(now_ms)? else {
            break;
        };
        bytes = bytes.saturating_add(event.event.cost());
        log.append(&row::encode(&event.id, due, &event.event)?)?;
        done.event_ids.push(event.id);
    }
    tables.changed |= !done.event_ids.is_empty();
    Ok(done)
}

/// As [`Store::trim`](super::super::Store::trim).
pub(in super::super) fn trim(
    tables: &mut Tables<'_>,
    before_ms: u64,
    now_ms: u64,
    bounds: LogBounds,
    limits: &StoreLimits,
) -> Result<Committed, Fault> {
    let (version, mut count) = (tables.version, 0);
    let mut forgotten = 0_u64;
    if let Some(log) = tables.log()? {
        let mut dropped = (0_u64, 0_u64);
        for item in log.events.range(..bounds.needed_from)?.take(MAX_TRIMMED) {
            let (sequence, row) = item?;
            let row = row::weigh(row.value())?;
            let is_over = log.bytes.saturating_sub(dropped.1) > bounds.max_bytes;
            let is_enough = dropped.1 > limits.group_bytes as u64;
            if is_enough || (row.time_ms >= before_ms && !is_over) {
                break;
            }
            dropped = (sequence.value(), dropped.1.saturating_add(row.cost));
            count += 1;
        }
        if count > 0 {
            log.drop_through(dropped.0, dropped.1)?;
        }
        let once_time = u64::try_from(limits.once_time.as_millis()).unwrap_or(u64::MAX);
        let until = now_ms.saturating_sub(once_time);
        for _ in 0..MAX_TRIMMED {
            let oldest = log.once_times.first()?.map(|(oldest, _)| {
                let (time, once) = oldest.value();
                (time, once.to_owned())
            });
            let Some((time, once)) = oldest.filter(|(time, _)| *time < until) else {
                break;
            };
            log.once.remove(once.as_str())?;
            log.once_times.remove((time, once.as_str()))?;
            forgotten = forgotten.saturating_add(once_cost(&once));
            count += 1;
        }
    }
    if count > 0 {
        tables.changed = true;
        tables.stored_bytes = tables.stored_bytes.saturating_sub(forgotten);
    }
    Ok(Committed {
        version,
        counters: vec![count],
        ..Committed::default()
    })
}
