//! Falls back to the previous release if the live one keeps failing or cannot be loaded, and was
//! deployed with that option.

use crate::change::{Change, Load};
use crate::record::WindowRecord;
use crate::registry::Registry;
use crate::window::Window;
use crate::{ChangeError, WindowName};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A release of a window has tripped its breaker.
pub(crate) struct Tripped {
    /// The window itself, not another that has got its name.
    pub window: Arc<Window>,
    pub number: u64,
    pub why: String,
}

/// Watches a window as long as anybody can send a message about it.
pub(crate) fn watch(registry: &Arc<Registry>) -> mpsc::Sender<Tripped> {
    let (sender, mut trips) = mpsc::channel::<Tripped>(1);
    let registry = Arc::downgrade(registry);
    tokio::spawn(async move {
        while let Some(tripped) = trips.recv().await {
            let Some(registry) = registry.upgrade() else {
                return;
            };
            if let Err(error) = fall_back(&registry, &tripped).await {
                let window = &tripped.window.name;
                tracing::error!(%window, release = tripped.number, %error, "cannot fall back");
            }
        }
    });
    sender
}

async fn fall_back(registry: &Arc<Registry>, tripped: &Tripped) -> Result<(), ChangeError> {
    let (window, from, why) = (&tripped.window, tripped.number, &tripped.why);
    let Some(mut change) = Change::of_window(registry, window).await else {
        return Ok(());
    };
    let before = change.record();
    // Whatever is wrong with one release, the one before it may work.
    let fell = to_earlier(&mut change, &Load::Tried, from, why, |_| true).await?;
    if let Some(to) = fell {
        window
            .log
            .line(&format!("fell back to release {to}: {why}"));
        tracing::warn!(window = %window.name, from, to, "fell back: {why}");
        // Nobody is there to ask.
        if let Some(more) = registry.asks_of_return(window.name.as_str(), &before, to) {
            window.log.line(&more);
            tracing::warn!(window = %window.name, "{more}");
        }
    }
    Ok(())
}

/// Replaces release `from` by the newest earlier one that can be loaded, and returns its number.
/// None if `from` is no longer the only live one, was deployed without fallback, or has no
/// predecessor.
///
/// # Errors
///
/// Why the last earlier one cannot be loaded, or the first for which `goes_on` says to try no
/// other.
pub(crate) async fn to_earlier(
    change: &mut Change,
    load: &Load,
    from: u64,
    why: &str,
    goes_on: impl Fn(&ChangeError) -> bool,
) -> Result<Option<u64>, ChangeError> {
    let name = change.window().name.clone();
    let mut given_up = vec![why.to_owned()];
    let mut outcome = Ok(None);
    loop {
        let mut next = change.record();
        if !may_fall_back(&next, from) {
            return outcome;
        }
        let Some(before) = give_up(&mut next, &given_up) else {
            return outcome;
        };
        let edit = change.enforce(load, |record| edit(record, &given_up, from, &name));
        match edit.await {
            Ok(()) => return Ok(Some(before)),
            Err(error) if goes_on(&error) => {
                given_up.push(error.to_string());
                outcome = Err(error);
            }
            Err(error) => return Err(error),
        }
    }
}

fn edit(
    record: &mut WindowRecord,
    given_up: &[String],
    from: u64,
    name: &WindowName,
) -> Result<(), ChangeError> {
    // Another host may have changed it meanwhile.
    match may_fall_back(record, from) && give_up(record, given_up).is_some() {
        true => Ok(()),
        false => Err(ChangeError::Overtaken(name.clone())),
    }
}

fn may_fall_back(record: &WindowRecord, from: u64) -> bool {
    let falls_back = record.release(from).is_some_and(|r| r.fallback);
    falls_back && record.live == from && record.canary.is_none() && !record.stopped
}

/// Falls back once for each of the reasons, and returns the number of the release. None if there is
/// no earlier one.
fn give_up(record: &mut WindowRecord, given_up: &[String]) -> Option<u64> {
    for why in given_up {
        let before = record.before_live()?;
        record.fall_back_to(before, why);
    }
    Some(record.live)
}
