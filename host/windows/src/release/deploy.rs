//! The one path by which a component becomes a release. Admin API, command line, `hms up` and the
//! watched folder all use it.
//!
//! check -> compile -> try -> record -> swap -> drain. Every step before the swap may fail and
//! leaves the old release serving. The record is durable before the swap, so that whatever was ever
//! live is live again after a crash.

use crate::blocking::blocking;
use crate::change::{Change, Load};
use crate::record::WindowRecord;
use crate::registry::Registry;
use crate::release::Release;
use crate::release::artifacts::Upload;
use crate::release::deploy_queue::Asker;
use crate::release::difference::{Compared, compared};
use crate::release::file::{self, FileDeploy};
use crate::release::load;
use crate::release::progress::Progress;
use crate::traffic::admission::Ask;
use crate::traffic::serving::Serving;
use crate::window::Window;
use crate::{ChangeError, Consent, Probe, ReleaseRecord, TrafficShare, WindowName};
use hms_api::{DeployEvent, Deployed, Step};
use hms_core::trace::{Outline, SpanKind, SpanLog, Spans, What};
use hms_grants::WindowGrants;
use hms_grants::ability::not_yet_granted;
use hms_runtime::inspect::{Inspection, inspect, unknown};
use http::Method;
use std::path::Path;
use std::sync::Arc;
use time::OffsetDateTime;

/// The options of a deploy.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    /// Who deploys, according to themselves.
    pub by: String,
    /// What was agreed to of the capabilities that it gains over the live release.
    pub consent: Consent,
    /// The probe that it must pass before it gets any request. Without one, an instance must start.
    pub probe: Option<Probe>,
    /// Its initial share of the requests, beside the live release. None: it gets all.
    pub canary: Option<TrafficShare>,
    /// Whether the window falls back to the previous release if this one keeps failing.
    pub fallback: bool,
    /// Whether it may import what no window is given: functions that end the request that calls
    /// them.
    pub trap_unknown: bool,
}

impl Registry {
    /// Deploys an upload as the next release of window `name`, which is created if there is none.
    /// `notify` gets each completed step.
    ///
    /// # Errors
    ///
    /// Why it gets no requests; the old release still does.
    pub async fn deploy(
        self: &Arc<Self>,
        name: WindowName,
        upload: Upload,
        options: DeployOptions,
        notify: &(dyn Fn(DeployEvent) + Send + Sync),
    ) -> Result<Deployed, ChangeError> {
        let log = self.config.tracer.begin(None);
        let mut progress = Progress::new(notify, Spans::of(log.clone()));
        let artifact = self.artifacts.wasm_path(&upload.digest);
        match self.go_through(&name, upload, options, &mut progress).await {
            Ok(deployed) => {
                let number = deployed.release.number;
                self.trace(&name, log, &progress, Some(number));
                Ok(Deployed {
                    steps: progress.into_steps(),
                    ..deployed
                })
            }
            Err(error) => {
                progress.refuse(&name, &error);
                self.trace(&name, log, &progress, None);
                // Not if the disk may have its record, whatever it says now.
                if artifact.exists() && !error.leaves_the_disk_in_doubt() {
                    self.clear_unused().await;
                }
                Err(error)
            }
        }
    }

    /// Deploys the component at `path`, unless it is live already.
    ///
    /// # Errors
    ///
    /// Why it is not live; the old release still is.
    pub async fn deploy_file(
        self: &Arc<Self>,
        name: &WindowName,
        path: &Path,
        options: DeployOptions,
    ) -> Result<FileDeploy, ChangeError> {
        file::deploy(self, name, path, None, options).await
    }

    /// Ends the trace of a deploy, which has led to that release, and counts it. Requests of the
    /// release before may still drain: then the trace ends with them.
    fn trace(
        self: &Arc<Self>,
        name: &WindowName,
        log: Arc<SpanLog>,
        progress: &Progress<'_>,
        release: Option<u64>,
    ) {
        self.deploys.ended(progress.steps(), release.is_some());
        let outline = Outline {
            what: What::Deploy,
            request_id: uuid::Uuid::new_v4().to_string(),
            method: Method::PUT,
            scheme: "",
            route: None,
            path: format!("/windows/{name}"),
            upstream: Some(name.to_string()),
            window: true,
            release,
            status: 0,
            error: release.is_none().then_some("refused"),
            head: None,
        };
        let tracer = self.config.tracer.clone();
        let window = self.window(name).ok().filter(|_| release.is_some());
        let Some(window) = window.filter(|window| window.is_draining()) else {
            return tracer.finish(log, outline);
        };
        let drain = Spans::of(log.clone()).begin(SpanKind::Drain);
        tokio::spawn(async move {
            window.drained().await;
            drop(drain);
            tracer.finish(log, outline);
        });
    }

    async fn go_through(
        self: &Arc<Self>,
        name: &WindowName,
        upload: Upload,
        options: DeployOptions,
        progress: &mut Progress<'_>,
    ) -> Result<Deployed, ChangeError> {
        self.check_takes_deploys(name, options.canary.is_some())?;
        let begun_at = self.window(name).ok();
        let stops = begun_at.as_ref().map(|window| window.recorded.stops());
        let _pin = self.artifacts.pin(&upload.digest);
        let (digest, size) = (upload.digest.clone(), upload.size);
        let trap_unknown = options.trap_unknown;
        let inspection = self.check(upload, trap_unknown).await?;
        let experimental = self.config.engine.experimental;
        let trapped = match trap_unknown {
            true => unknown(&inspection.imports, experimental),
            false => Vec::new(),
        };
        // With the live release of the record, if there is one.
        let compare = |record: &WindowRecord, granted: &WindowGrants| {
            let live = record.release(record.live)?;
            let of_live = live.trapped(experimental);
            let trapped = [of_live.as_slice(), trapped.as_slice()];
            Some(compared(
                live,
                record.next,
                size,
                &inspection,
                trapped,
                granted,
            ))
        };
        let granted = self.granted(name.as_str());
        let known = self.window(name).ok().map(|window| window.recorded.known());
        if let Some(known) = &known {
            known.check_readable(name)?;
        }
        let at_first = known
            .filter(|known| !known.is_going())
            .and_then(|known| compare(&known.record, &granted.load()));
        progress.done(Step::Check);
        if let Some(compared) = &at_first {
            progress.differs(&compared.difference);
            options.consent.check(compared.asks.as_ref())?;
        }

        let asker = Asker {
            who: &options.by,
            refusable: true,
            waits: &|ahead| progress.waits_for_compiler(ahead),
        };
        self.artifacts
            .compiled(&digest, &self.compatibility, &asker)
            .await?;
        progress.done(Step::Compile);

        // From here to the swap, one deploy of a window at a time, so that its history is linear.
        let mut change = Change::of_new(self, name).await?;
        let window = change.window().clone();
        let record = change.record();
        if record.canary.is_some() {
            return Err(ChangeError::CanaryRunning(name.clone()));
        }
        // Another release may have gone live meanwhile, or the grants may have changed: the consent
        // covers only what this one has more than that.
        let ask = || -> Result<Option<Compared>, ChangeError> {
            let compared = compare(&record, &granted.load());
            if let Some(compared) = &compared {
                options.consent.check(compared.asks.as_ref())?;
            }
            Ok(compared)
        };
        ask()?;
        let fresh = ReleaseRecord {
            number: 0,
            digest,
            size,
            deployed_at: OffsetDateTime::now_utc(),
            by: options.by.clone(),
            imports: inspection.imports.clone(),
            exports: inspection.exports.clone(),
            fallback: options.fallback,
            trap_unknown,
            grants: granted.load().digest.clone(),
            before: None,
            outcome: None,
        };
        let mut next = record.clone().with_release(fresh, options.canary);
        let Some(release) = next.releases.last().cloned() else {
            return Err(ChangeError::Internal(
                "the new release is not in its record".into(),
            ));
        };
        let assembled = self
            .try_out(&window, &release, options.probe.as_ref(), progress)
            .await?;
        // A file that was edited meanwhile was compared with the live release alone.
        let compared = ask()?;

        match next.canary {
            // If an operator has closed the window since this began, it stays closed: the release
            // is deployed, and does not serve.
            None => {
                let same = begun_at.is_some_and(|begun_at| Arc::ptr_eq(&begun_at, &window));
                next.stopped = same && record.stopped && stops != Some(window.recorded.stops());
            }
            Some(_) if matches!(&*window.serving(), Serving::Open { .. }) => {}
            Some(_) => return Err(ChangeError::NothingLive(name.clone())),
        }
        let replaced = (options.canary.is_none() && record.live > 0).then_some(record.live);
        let edit = |record: &mut WindowRecord| {
            *record = next.clone();
            Ok(())
        };
        // Only once: its number is taken if another host has changed the window meanwhile.
        let next = change.prepare(&Load::Ready(assembled), edit).await?;
        change.put(&next).await?;
        progress.done(Step::Record);
        change.open(next);
        progress.done(Step::Swap);
        drop(change);

        tracing::info!(window = %name, release = release.number, digest = release.digest, by = release.by, "deployed");
        self.clear_unused().await;
        Ok(Deployed {
            window: name.to_string(),
            trapped: release.trapped(experimental),
            release: (&release).into(),
            replaced,
            canary: options.canary.map(|share| share.to_string()),
            notes: match &compared {
                Some(_) => Vec::new(),
                None => not_yet_granted(&release.imports, &granted.load()),
            },
            difference: compared.map(|compared| compared.difference),
            steps: Vec::new(),
        })
    }

    /// Whether a deploy of window `name` is possible now, so that nobody uploads and compiles in
    /// vain. It is checked again when the deploy has its turn.
    ///
    /// # Errors
    ///
    /// Why it is not possible.
    pub fn check_takes_deploys(
        &self,
        name: &WindowName,
        as_canary: bool,
    ) -> Result<(), ChangeError> {
        let window = self.window(name).ok();
        let known = window.as_ref().map(|window| window.recorded.known());
        if let Some(known) = &known {
            known.check_readable(name)?;
            if known.record.canary.is_some() && !known.is_going() {
                return Err(ChangeError::CanaryRunning(name.clone()));
            }
        }
        let open = window.is_some_and(|window| matches!(&*window.serving(), Serving::Open { .. }));
        match as_canary && !open {
            true => Err(ChangeError::NothingLive(name.clone())),
            false => Ok(()),
        }
    }

    async fn check(
        self: &Arc<Self>,
        upload: Upload,
        trap_unknown: bool,
    ) -> Result<Inspection, ChangeError> {
        let artifacts = self.artifacts.clone();
        let experimental = self.config.engine.experimental;
        let _leave = self.artifacts.leave_to_check().await;
        blocking(move || {
            let inspection = inspect(&upload.read()?, trap_unknown, experimental)?;
            artifacts.keep(&upload)?;
            Ok(inspection)
        })
        .await
    }

    /// Loads the release, starts one instance, and runs the probe.
    async fn try_out(
        self: &Arc<Self>,
        window: &Window,
        release: &ReleaseRecord,
        probe: Option<&Probe>,
        progress: &mut Progress<'_>,
    ) -> Result<Arc<Release>, ChangeError> {
        let instances = load::instances(self, window, release).await?;
        // A deploy queues for an instance like any request, so that it does not fail because the
        // windows are busy.
        let permit = window
            .queue
            .acquire(Ask::plain(instances.weight()))
            .await
            .map_err(|busy| ChangeError::Try(busy.into()))?;
        instances.try_start().await.map_err(ChangeError::Try)?;
        if let Some(probe) = probe
            && let Err(why) = probe.ask(&window.name, &instances, permit).await
        {
            // Nobody will wait for it any more.
            instances.cancel_handle().cut();
            return Err(ChangeError::Probe(why));
        }
        progress.done(Step::Try);
        Ok(Release::new(release.clone(), instances, &window.measures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, caller, name};
    use hms_grants::GrantsFile;
    use hms_manifest::Manifest;

    #[tokio::test]
    async fn grant_that_comes_while_a_release_is_tried_is_asked_about() {
        let fixture = Fixture::new(false).await;
        let registry = &fixture.registry;
        fixture.deploy("w", 1, None).await;
        let grant = |event: DeployEvent| {
            if let DeployEvent::Step {
                step: Step::Try, ..
            } = event
            {
                let file = GrantsFile::parse("w", "outbound: [{to: https://a.example}]\n");
                registry.granted("w").store(WindowGrants {
                    grants: file.unwrap().grants,
                    ..WindowGrants::default()
                });
            }
        };
        let upload = fixture.upload_of(&caller(2)).await;
        let deployed = registry.deploy(name(), upload, DeployOptions::default(), &grant);
        let refused = deployed.await.unwrap_err();
        assert!(
            matches!(&refused, ChangeError::NeedsConsent(why) if why.contains("a.example")),
            "{refused:?}"
        );
        let (status, _) = registry.status(&name()).unwrap();
        assert_eq!(status.live.unwrap().number, 1);
    }

    #[tokio::test]
    async fn refused_deploy_leaves_no_artifact() {
        let fixture = Fixture::new(false).await;
        let files = || {
            let folder = fixture.dir.path().join("artifacts");
            let folders = [
                folder.clone(),
                folder.join("native"),
                folder.join("incoming"),
            ];
            let files = folders.map(|folder| std::fs::read_dir(folder).unwrap());
            let files = files.into_iter().flatten().map(|entry| entry.unwrap());
            files.filter(|entry| entry.path().is_file()).count()
        };
        fixture.deploy("keeper", 1, None).await;
        assert_eq!(files(), 2);
        for (mark, after) in [(2, 2), (1, 2)] {
            let options = DeployOptions {
                canary: "50%".parse().ok(),
                ..DeployOptions::default()
            };
            let upload = fixture.upload(mark).await;
            let refused = fixture
                .registry
                .deploy(name(), upload, options, &|_| {})
                .await;
            assert!(matches!(refused, Err(ChangeError::NothingLive(_))));
            assert_eq!(files(), after, "component {mark}");
        }
    }
}
