//! What came of deploys.

use hms_api::Step;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The steps of a deploy, in order.
const STEPS: [Step; 5] = [
    Step::Check,
    Step::Compile,
    Step::Try,
    Step::Record,
    Step::Swap,
];

/// Counts deploys by what came of them. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Deploys(Family<DeployLabels, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeployLabels {
    outcome: &'static str,
    step: &'static str,
}

impl Deploys {
    /// Registers the counter.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "deploys",
            "Deploys by outcome (deployed, refused) and the step at which they ended",
            self.0.clone(),
        );
    }

    /// One has ended after so many steps.
    pub(super) fn ended(&self, steps: usize, deployed: bool) {
        let (outcome, at) = match deployed {
            true => ("deployed", steps.saturating_sub(1)),
            false => ("refused", steps),
        };
        let step = match STEPS.get(at) {
            Some(Step::Check) => "check",
            Some(Step::Compile) => "compile",
            Some(Step::Try) => "try",
            Some(Step::Record) => "record",
            Some(Step::Swap | Step::Other(_)) | None => "swap",
        };
        self.0.get_or_create(&DeployLabels { outcome, step }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_deploy_is_counted_at_the_step_that_it_did_not_pass() {
        let deploys = Deploys::default();
        deploys.ended(0, false);
        deploys.ended(2, false);
        deploys.ended(5, true);
        let count = |outcome, step| {
            let labels = DeployLabels { outcome, step };
            deploys.0.get_or_create(&labels).get()
        };
        assert_eq!(count("refused", "check"), 1);
        assert_eq!(count("refused", "try"), 1);
        assert_eq!(count("deployed", "swap"), 1);
    }
}
