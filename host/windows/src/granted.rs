//! The grants of windows as they meet what is deployed: which limits are in force, and what an
//! operator has to agree to where an edit of a file gives a release more.

use super::change::Change;
use super::record::WindowRecord;
use super::registry::Registry;
use super::window::Window;
use super::{ChangeError, Consent, WindowName};
use hms_api::LimitSource;
use hms_grants::{LiveGrants, WindowGrants, ability};
use hms_runtime::{Limit, LimitsChange, LimitsSet, WindowLimits};
use std::sync::Arc;

/// A window that nobody changes until this is dropped.
pub struct KeptAsItIs {
    _change: Change,
}

impl Registry {
    /// What window `name` is granted.
    pub(super) fn granted(&self, name: &str) -> LiveGrants {
        self.config.grants.window(name)
    }

    /// The limits of window `name` for which an operator has set `set`: those of its grants file
    /// come first. An instance cannot have more memory than the pool has for it.
    pub(super) fn effective(&self, name: &str, set: &LimitsSet) -> WindowLimits {
        let granted = self.granted(name);
        let limits = self.config.limits.with(set);
        let limits = limits.with(&granted.load().grants.limits);
        let most = self.config.engine.max_memory_bytes as u64;
        match limits.get(Limit::MemoryBytes) > most {
            true => limits.at(Limit::MemoryBytes, most),
            false => limits,
        }
    }

    /// Which limits the grants file of window `name` sets, and where.
    pub(super) fn limit_sources(&self, name: &str) -> Vec<LimitSource> {
        let granted = self.granted(name).current();
        let lines = granted.grants.lines.limits.iter();
        let source = lines.map(|(limit, line)| LimitSource {
            limit: limit.row().name.into(),
            place: granted.at(*line),
        });
        source.collect()
    }

    /// # Errors
    /// If `change` is about a limit that the grants file sets.
    pub(super) fn check_not_of_the_file(
        &self,
        name: &WindowName,
        change: &LimitsChange,
    ) -> Result<(), ChangeError> {
        let sources = self.limit_sources(name.as_str());
        let mut limits = change.0.keys().map(|limit| limit.row().name);
        let set = limits.find_map(|limit| sources.iter().find(|source| source.limit == *limit));
        match set {
            Some(LimitSource { limit, place }) => Err(ChangeError::LimitOfTheFile {
                limit: limit.to_string(),
                place: place.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Waits until no change of window `name` is under way, and keeps others away for as long as
    /// the result is there: else a release that imports more could go live while an operator is
    /// not asked about grants that only it makes use of. None where there is no such window, or no
    /// release could do more with the grants `after` than now: what takes away never waits.
    pub async fn kept_as_it_is(
        self: &Arc<Self>,
        name: &WindowName,
        after: &WindowGrants,
    ) -> Option<KeptAsItIs> {
        let before = self.granted(name.as_str()).current();
        if !ability::may_grow(&before, after) {
            return None;
        }
        let change = Change::of_any(self, name).await.ok()?;
        Some(KeptAsItIs { _change: change })
    }

    /// # Errors
    /// What the releases of window `name` that get requests, or would by an automatic fallback,
    /// could do with the grants `after` and cannot now, where `consent` is not to that.
    pub fn ask_of_grants(
        &self,
        name: &str,
        after: &WindowGrants,
        consent: &Consent,
    ) -> Result<(), ChangeError> {
        let before = self.granted(name).current();
        consent.check(self.grown(name, &before, after).as_ref())
    }

    fn grown(&self, name: &str, before: &WindowGrants, after: &WindowGrants) -> Option<String> {
        let window = self.windows().get(name).cloned()?;
        let known = window.recorded.known();
        let record = &known.record;
        let candidate = record.canary.map(|canary| canary.number);
        let serving = [Some(record.live), candidate].into_iter().flatten();
        let may_serve = serving.chain(record.fallbacks());
        let mut asks = may_serve.filter_map(|number| {
            let release = record.release(number)?;
            let able = |grants| ability::abilities(&release.imports, grants);
            ability::sentence(number, &ability::gained(&able(before), &able(after)))
        });
        asks.next()
    }

    /// What release `number` of `record` can do beyond the live one by the present grants of window
    /// `name`, as a sentence; none if nothing.
    pub(super) fn asks_of_return(
        &self,
        name: &str,
        record: &WindowRecord,
        number: u64,
    ) -> Option<String> {
        let granted = self.granted(name).current();
        let able = |number| {
            let release = record.release(number);
            release.map(|release| ability::abilities(&release.imports, &granted))
        };
        let gained = ability::gained(&able(record.live).unwrap_or_default(), &able(number)?);
        ability::sentence(number, &gained)
    }

    /// Has the grants of window `name`, which have just changed, be in force: its limits apply from
    /// now on. What its releases gain is said in the log: whoever edits the file consents to it.
    pub fn grants_changed(&self, name: &str, before: &WindowGrants, after: &WindowGrants) {
        let Some(window) = self.windows().get(name).cloned() else {
            return;
        };
        if let Some(asks) = self.grown(name, before, after) {
            tracing::info!(window = name, "{asks}");
        }
        let (was, limits) = (&before.grants.limits, &after.grants.limits);
        if was == limits {
            return;
        }
        if let Some(less) = self.less_than_granted(after) {
            tracing::warn!(window = name, "it {less}");
        }
        self.hold(&window);
        self.ask_for_reuse_again(&window, was.get(Limit::Reuse) != limits.get(Limit::Reuse));
        tracing::info!(window = name, set = %limits, "limits of the grants file");
    }

    /// What of `granted` is in force as less than the file says, as a sentence after "it": more
    /// memory than the pool has for an instance.
    pub fn less_than_granted(&self, granted: &WindowGrants) -> Option<String> {
        let (limit, most) = (
            Limit::MemoryBytes,
            self.config.engine.max_memory_bytes as u64,
        );
        let set = granted.grants.limits.get(limit).filter(|set| *set > most)?;
        let line = granted.grants.lines.limits.get(&limit).copied();
        let [set, most] = [set, most].map(|bytes| limit.row().shown(bytes));
        Some(format!(
            "has {most} of memory in force, not {set}: the pool of this host gives an instance no \
             more; start it with a larger --instance-memory ({})",
            granted.at(line.unwrap_or(1))
        ))
    }

    /// Has `reuse` be tried again that was off, if `changed`.
    pub(super) fn ask_for_reuse_again(&self, window: &Window, changed: bool) {
        let serving = window.serving();
        for release in serving.releases().filter(|_| changed) {
            release.instances.reuse().ask_again();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReleaseRecord;
    use crate::testing::{Fixture, name, numbered};
    use hms_grants::GrantsFile;
    use hms_manifest::Manifest;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    fn granted(text: &str) -> WindowGrants {
        WindowGrants {
            grants: GrantsFile::parse("w", text).unwrap().grants,
            folder: "windows".into(),
            file: "w.yaml".into(),
            ..WindowGrants::default()
        }
    }

    /// Has `text` be the file of the window, as its folder does.
    fn grant(registry: &Registry, text: &str) {
        let live = registry.granted("w");
        let before = live.current();
        live.store(granted(text));
        registry.grants_changed("w", &before, &live.current());
    }

    #[tokio::test]
    async fn limits_of_the_file_are_over_those_of_the_record_and_within_the_pool() {
        let fixture = Fixture::new(false).await;
        fixture.deploy("w", 1, None).await;
        let registry = &fixture.registry;
        let change = LimitsChange([(Limit::Queue, Some(5))].into());
        registry.set_limits(&name(), &change).await.unwrap();
        let queue = || registry.limits(&name()).unwrap().values.limits["queue"];
        grant(registry, "limits: {queue: 7}\n");
        assert_eq!(queue(), 7);
        let refused = registry.set_limits(&name(), &change).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "queue: set in windows/w.yaml:1: change it there"
        );
        grant(registry, "limits: {memory: 4GiB}\n");
        assert_eq!(queue(), 5);
        let most = registry.config.engine.max_memory_bytes as u64;
        let memory = registry.window(&name()).unwrap().limits.load();
        assert_eq!(memory.get(Limit::MemoryBytes), most);
    }

    fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(future).poll(&mut cx).is_pending()
    }

    /// Release 1 of window `w` calls services, and release 2, which is live, does not.
    fn careful_after_caller(fallback: bool) -> WindowRecord {
        let mut record = WindowRecord::default();
        for (number, import) in [
            (1, "wasi:http/client@0.3.0"),
            (2, "wasi:random/random@0.3.0"),
        ] {
            record.releases.push(ReleaseRecord {
                imports: vec![import.to_owned()],
                fallback,
                ..numbered(number)
            });
        }
        record.live = 2;
        record
    }

    #[tokio::test]
    async fn return_to_a_release_is_asked_about_where_it_can_do_more() {
        let fixture = Fixture::new(false).await;
        let registry = &fixture.registry;
        let mut record = careful_after_caller(false);
        assert_eq!(registry.asks_of_return("w", &record, 1), None);
        grant(registry, "outbound: [{to: https://a.example}]\n");
        let asks = registry.asks_of_return("w", &record, 1).unwrap();
        assert!(
            asks.starts_with(
                "release 1 imports wasi:http/client: it may now GET and HEAD https://a"
            ),
            "{asks}"
        );
        record.live = 1;
        assert_eq!(registry.asks_of_return("w", &record, 2), None);
    }

    #[test]
    fn releases_to_fall_back_to_are_the_earlier_ones_where_the_live_one_falls_back() {
        let fallbacks = |record: &WindowRecord| record.fallbacks().collect::<Vec<_>>();
        assert_eq!(fallbacks(&careful_after_caller(false)), [0; 0]);
        let mut record = careful_after_caller(true);
        assert_eq!(fallbacks(&record), [1]);
        record.fall_back_to(1, "test");
        assert_eq!(fallbacks(&record), [0; 0]);
    }

    #[tokio::test]
    async fn edit_by_which_a_release_could_do_more_waits_for_changes_and_no_other_does() {
        let fixture = Fixture::new(false).await;
        let registry = &fixture.registry;
        let (more, name) = (granted("outbound: [{to: https://a.example}]\n"), name());
        assert!(registry.kept_as_it_is(&name, &more).await.is_none());
        fixture.deploy("w", 1, None).await;
        let turn = Change::of(registry, &name).await.unwrap();
        let mut waits = Box::pin(registry.kept_as_it_is(&name, &more));
        assert!(is_pending(&mut waits));
        let less = granted("internal: true\n");
        assert!(registry.kept_as_it_is(&name, &less).await.is_none());
        drop(turn);
        let kept = waits.await;
        assert!(kept.is_some());
        let mut change = Box::pin(Change::of(registry, &name));
        assert!(is_pending(&mut change));
        drop(kept);
        assert!(change.await.is_ok());
    }

    #[tokio::test]
    async fn edit_is_asked_about_for_what_is_live_alone() {
        let fixture = Fixture::new(false).await;
        let outbound = "outbound: [{to: https://a.example}]\n";
        let registry = &fixture.registry;
        let asks = |text: &str| registry.ask_of_grants("w", &granted(text), &Consent::Nothing);
        assert!(asks(outbound).is_ok());
        fixture.deploy("w", 1, None).await;
        // Its component imports no HTTP client.
        assert!(asks(outbound).is_ok());
    }
}
