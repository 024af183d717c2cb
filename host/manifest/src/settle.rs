//! Which file serves what several claim.

use super::files::Files;
use super::{Fault, Manifest};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

impl<M: Manifest> Files<M> {
    /// Decides what each file serves. Of two files that claim the same the one that already serves
    /// it stays; else the first by name has it. The other keeps its last good manifest. Gives what
    /// serves, by file.
    pub(super) fn resolve(&mut self) -> BTreeMap<String, Arc<M>> {
        let mut faults: HashMap<String, Vec<Fault>> = HashMap::new();
        let mut serve: BTreeMap<String, Arc<M>> = BTreeMap::new();
        for (file, entry) in &self.by_name {
            if let Some(withdrawn) = self.withdrawn.get(file) {
                let reason = format!("it was removed, and the file cannot be: {}", withdrawn.why);
                faults.insert(file.clone(), vec![Fault::whole(reason)]);
                continue;
            }
            let manifest = match &entry.wanted {
                Ok(manifest) => Some(manifest),
                Err(found) => {
                    faults.insert(file.clone(), found.clone());
                    entry.live.as_ref()
                }
            };
            serve.extend(manifest.map(|manifest| (file.clone(), manifest.clone())));
        }
        self.settle(&mut serve, &mut faults);
        for (file, entry) in &mut self.by_name {
            let faults = faults.remove(file).unwrap_or_default();
            entry.become_(file, serve.get(file).cloned(), faults);
        }
        serve
    }

    /// Has each claim with one file. A file that loses one serves its last good manifest, or
    /// nothing. Every loss takes one new manifest back, or a last good one away, so this ends, and
    /// in a time that grows with the number of claims.
    fn settle(
        &self,
        serve: &mut BTreeMap<String, Arc<M>>,
        faults: &mut HashMap<String, Vec<Fault>>,
    ) {
        let mut taken: HashMap<M::Claim, String> = HashMap::new();
        let mut waiting: BTreeSet<String> = serve.keys().cloned().collect();
        while let Some(file) = waiting.pop_first() {
            let Some(manifest) = serve.get(&file).cloned() else {
                continue;
            };
            let claims = manifest.claims();
            let conflict = claims
                .iter()
                .find_map(|claim| taken.get(claim).map(|other| (claim, other.clone())));
            let Some((claim, other)) = conflict else {
                taken.extend(claims.into_iter().map(|claim| (claim, file.clone())));
                continue;
            };
            let (first, second) = match other < file {
                true => (&other, &file),
                false => (&file, &other),
            };
            let (loser, winner) = match self.serves(second, claim) && !self.serves(first, claim) {
                true => (first, second),
                false => (second, first),
            };
            self.note_loss(loser, winner, claim, faults);
            if *loser == other {
                taken.retain(|_, holder| *holder != other);
                waiting.insert(file.clone());
            }
            let last_good = self.by_name.get(loser).and_then(|e| e.live.as_ref());
            match (last_good, serve.get(loser)) {
                (Some(live), Some(now)) if !Arc::ptr_eq(live, now) => {
                    serve.insert(loser.clone(), live.clone());
                    waiting.insert(loser.clone());
                }
                _ => {
                    serve.remove(loser);
                }
            }
        }
    }

    /// Whether the file's live manifest has the claim.
    fn serves(&self, file: &str, claim: &M::Claim) -> bool {
        let live = self.by_name.get(file).and_then(|entry| entry.live.as_ref());
        live.is_some_and(|live| live.claims().contains(claim))
    }

    fn note_loss(
        &self,
        loser: &str,
        winner: &str,
        claim: &M::Claim,
        faults: &mut HashMap<String, Vec<Fault>>,
    ) {
        let text = self
            .by_name
            .get(loser)
            .and_then(|entry| entry.text.as_deref());
        let fault = Fault {
            line: M::line_of_claims(text.unwrap_or_default()),
            column: 1,
            reason: format!(
                "{claim} is claimed by {winner} and {loser}: {winner} keeps it; choose another for \
                 one of them"
            ),
        };
        faults.entry(loser.to_owned()).or_default().push(fault);
    }
}
