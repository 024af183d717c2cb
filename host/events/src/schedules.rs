//! Schedules: at its time each emits an event into its window's own log, which an implicit
//! subscription of that window delivers.
//!
//! The event of an occurrence is emitted under a `once` key, so a host that ends between that and
//! the note of it in events.redb emits none twice.

use crate::events::{Seen, Shared};
use crate::records::{Id, SCHEDULES, ScheduleRecord};
use crate::state::State;
use crate::upkeep::Chore;
use hms_core::events::EmitGuard;
use hms_disk::crash;
use hms_grants::schedule::{Occurrence, Overlap, Schedule};
use hms_grants::subscription::{
    AfterPark, ContentMode, DeliverTo, Filter, Order, Retry, Start, Subscription,
};
use hms_store::{NewEvent, StoreError, Transaction};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The type of the events of a schedule.
pub(crate) fn event_type(name: &str) -> String {
    format!("hms.schedule.{name}")
}

/// The subscription that delivers the runs of a schedule of `window`: one after the other. Its name
/// is the type of its events, which no file can use for another.
pub(crate) fn implicit(window: &str, schedule: &Schedule) -> Option<Subscription> {
    let kind = event_type(&schedule.name);
    Some(Subscription {
        name: kind.clone(),
        from: vec![window.parse().ok()?],
        filters: vec![Filter::Exact(vec![("type".to_owned(), kind)])],
        to: DeliverTo::Path(schedule.to.clone()),
        // It may be declared a moment after its first run.
        start: Start::Earliest,
        order: Order::Key,
        concurrency: 1,
        retry: Retry::DEFAULT,
        after_park: AfterPark::Continue,
        content: ContentMode::Binary,
        line: 0,
    })
}

/// All schedules.
#[derive(Default)]
pub(crate) struct Schedules(Mutex<BTreeMap<Id, Known>>);

pub(crate) struct Known {
    pub record: ScheduleRecord,
    /// None: it is no longer in its file.
    pub spec: Option<Schedule>,
    /// When it is to be looked at next. None: never.
    pub next_ms: Option<u64>,
    /// The record is in events.redb.
    kept: bool,
}

impl Schedules {
    pub(crate) async fn load(state: &State) -> Result<Self, StoreError> {
        let records: Vec<(String, ScheduleRecord)> = state.all(SCHEDULES).await?;
        let known = records.into_iter().filter_map(|(key, record)| {
            let known = Known {
                record,
                spec: None,
                next_ms: None,
                kept: true,
            };
            Some((Id::of_key(&key)?, known))
        });
        Ok(Schedules(Mutex::new(known.collect())))
    }

    /// Those that the grants say. One begins now that is new, was not there for a time, or has
    /// other times: none before was missed.
    pub(crate) fn set(&self, state: &State, grants: &Seen, now_ms: u64) {
        let mut all = self.0.lock();
        let mut before: BTreeSet<Id> = BTreeSet::new();
        for (id, known) in all.iter_mut() {
            if known.spec.take().is_some() {
                before.insert(id.clone());
            }
        }
        for (window, grants) in grants {
            for schedule in &grants.grants.schedules {
                let id = Id {
                    window: window.clone(),
                    name: schedule.name.clone(),
                };
                let known = all.entry(id).or_insert_with(|| Known {
                    record: ScheduleRecord {
                        last_ms: now_ms,
                        ..ScheduleRecord::default()
                    },
                    spec: None,
                    next_ms: None,
                    kept: false,
                });
                let times = format!("{} {}", schedule.cron, schedule.time_zone);
                let is_other = |before: &String| *before != times;
                let record = &mut known.record;
                if record.gone || record.times.as_ref().is_some_and(is_other) {
                    record.last_ms = now_ms;
                }
                if record.gone || record.times.as_ref().is_none_or(is_other) {
                    (record.gone, record.times) = (false, Some(times));
                    known.kept = false;
                }
                known.spec = Some(schedule.clone());
                // It is looked at by what it says now.
                known.next_ms = Some(0);
            }
        }
        for id in before {
            if let Some(known) = all.get_mut(&id)
                && known.spec.is_none()
            {
                known.record.gone = true;
                state.put((SCHEDULES.to_owned(), id.key()), &known.record);
            }
        }
    }

    /// Each with what is known of it, by window and name.
    pub(crate) fn each<T>(&self, mut of: impl FnMut(&Id, &Known, &Schedule) -> T) -> Vec<T> {
        let all = self.0.lock();
        let all = all.iter();
        all.filter_map(|(id, known)| Some(of(id, known, known.spec.as_ref()?)))
            .collect()
    }

    /// Has what is due be run.
    pub(crate) fn tick(&self, shared: &Arc<Shared>) {
        let now = shared.now_ms();
        let windows: BTreeSet<String> = self.due(now).map(|(id, ..)| id.window).collect();
        for window in windows {
            shared.chore(Chore::Schedules, &window, async move |shared, window| {
                shared.schedules.run_due(&shared, &window, now).await
            });
        }
    }

    /// Those of a window that are due at `now`, one after the other. Gives whether none failed.
    async fn run_due(&self, shared: &Arc<Shared>, window: &str, now: u64) -> bool {
        let mut all_ran = true;
        for (id, spec, record) in self.due(now).filter(|(id, ..)| id.window == window) {
            // Its file may say something else since the run before it began.
            let is_as_it_was = |known: &Known| known.spec.as_ref() == Some(&spec);
            if !self.0.lock().get(&id).is_some_and(is_as_it_was) {
                continue;
            }
            let key = id.key();
            match self.run(shared, &id, &spec, record.last_ms, now).await {
                Ok(()) => {
                    shared.is_news(&key, None);
                }
                Err(error) => {
                    if shared.is_news(&key, Some(&error)) {
                        let schedule = &id.name;
                        tracing::warn!(window, schedule, "a run waits: {error}");
                    }
                    all_ran = false;
                }
            }
        }
        all_ran
    }

    fn due(&self, now: u64) -> impl Iterator<Item = (Id, Schedule, ScheduleRecord)> + use<> {
        let due = self.each(|id, known, spec| {
            let is_due = known.next_ms.is_some_and(|next| next <= now);
            is_due.then(|| (id.clone(), spec.clone(), known.record.clone()))
        });
        due.into_iter().flatten()
    }

    async fn run(
        &self,
        shared: &Arc<Shared>,
        id: &Id,
        spec: &Schedule,
        last_ms: u64,
        now: u64,
    ) -> Result<(), String> {
        let due = spec.due(&id.window, last_ms, now);
        if let Some(last) = due.last_skipped_ms {
            self.note(shared, id, |record| {
                record.left_out(due.skipped as u64, last);
            });
        }
        for occurrence in &due.run {
            // As an operator's run has left it meanwhile, too.
            let Some(record) = self.record(id) else {
                return Ok(());
            };
            // Not known yet: at the next look.
            let Some(running) = is_running(shared, id, &record) else {
                return Ok(());
            };
            if running && spec.overlap == Overlap::Skip {
                let (window, schedule) = (&id.window, &id.name);
                tracing::info!(
                    window,
                    schedule,
                    "a run is left out: the last one is not over"
                );
                self.note(shared, id, |record| record.left_out(1, occurrence.at_ms));
                continue;
            }
            let name = format!("hms-schedule/{}", occurrence.name);
            let sequence = emit(shared, id, occurrence, Some(name)).await?;
            self.note(shared, id, |record| {
                record.ran(occurrence.at_ms, sequence);
                record.last_ms = record.last_ms.max(occurrence.at_ms);
            });
        }
        self.looked(shared, id, spec, due.last_ms, due.next_ms);
        Ok(())
    }

    fn record(&self, id: &Id) -> Option<ScheduleRecord> {
        self.0.lock().get(id).map(|known| known.record.clone())
    }

    /// Notes what came of a schedule.
    fn note(&self, shared: &Shared, id: &Id, change: impl FnOnce(&mut ScheduleRecord)) {
        if let Some(known) = self.0.lock().get_mut(id) {
            known.change(shared, id, change);
        }
    }

    /// Notes that all is done that was due by `spec`, and when it is looked at next. Of a schedule
    /// that was edited meanwhile it says nothing.
    fn looked(
        &self,
        shared: &Shared,
        id: &Id,
        spec: &Schedule,
        last_ms: u64,
        next_ms: Option<u64>,
    ) {
        if let Some(known) = self.0.lock().get_mut(id)
            && known.spec.as_ref() == Some(spec)
        {
            known.change(shared, id, |record| record.last_ms = last_ms);
            known.next_ms = next_ms;
        }
    }

    /// Runs a schedule now, whatever its time. Gives false if there is none of this name.
    ///
    /// # Errors
    /// Why it cannot be run.
    pub(crate) async fn run_now(&self, shared: &Arc<Shared>, id: &Id) -> Result<bool, String> {
        let is_known = |known: &Known| known.spec.is_some();
        if !self.0.lock().get(id).is_some_and(is_known) {
            return Ok(false);
        }
        let now = shared.now_ms();
        let occurrence = Occurrence {
            name: format!("{}@{}", id.name, crate::binding::time_text(now)),
            at_ms: now,
        };
        let sequence = emit(shared, id, &occurrence, None).await?;
        self.note(shared, id, |record| record.ran(now, sequence));
        Ok(true)
    }
}

impl Known {
    fn change(&mut self, shared: &Shared, id: &Id, change: impl FnOnce(&mut ScheduleRecord)) {
        let before = self.record.clone();
        change(&mut self.record);
        if !self.kept || self.record != before {
            self.kept = true;
            let place = (SCHEDULES.to_owned(), id.key());
            shared.state.put(place, &self.record);
        }
    }
}

/// Whether the last run is not over. None where that is not known yet.
pub(crate) fn is_running(shared: &Shared, id: &Id, record: &ScheduleRecord) -> Option<bool> {
    if record.last_run_ms.is_none() {
        return Some(false);
    }
    let subscriber = shared.subscriber(&id.window, &event_type(&id.name))?;
    let needed = subscriber.needed_from(&id.window)?;
    // A log that ends before is another one: its store was made anew.
    let last = match shared.logs.of(&id.window) {
        Some(log) if log.is_unsure() => return None,
        log => log.map_or(0, |log| log.last),
    };
    (needed > 0).then_some(needed <= record.last_sequence.min(last))
}

/// Emits the event of an occurrence. Gives the last sequence of the log.
async fn emit(
    shared: &Shared,
    id: &Id,
    occurrence: &Occurrence,
    once: Option<String>,
) -> Result<u64, String> {
    let said = |error: StoreError| error.to_string();
    if let Some(marking) = shared.logs.before_emit(&id.window) {
        marking.await?;
    }
    let store = shared.stores.open_async(&id.window).await.map_err(said)?;
    let time = crate::binding::time_text(occurrence.at_ms);
    let data =
        serde_json::json!({"schedule": id.name, "occurrence": occurrence.name, "time": time});
    let event = NewEvent {
        kind: event_type(&id.name),
        subject: Some(occurrence.name.clone()),
        // Its runs are one after the other.
        partition_key: Some(id.name.clone()),
        content_type: "application/json".to_owned(),
        data: data.to_string().into_bytes(),
        ..NewEvent::default()
    };
    let transaction = Transaction {
        once,
        events: vec![event],
        now_ms: shared.now_ms(),
        ..Transaction::default()
    };
    crash::point("running-schedule");
    store.transact(transaction).await.map_err(said)?;
    crash::point("ran-schedule");
    Ok(store.log_state().last)
}
