//! One deploy by the admin API, with its times.

use hms_harness::Host;
use hms_harness::load::Times;
use http::Method;
use std::time::{Duration, Instant};

/// A deploy that went through.
pub struct Deployed {
    /// From the first byte of the upload until the host said that it is live.
    pub took: Duration,
    /// As the host tells them, in their order.
    pub steps: Vec<(String, Duration)>,
}

/// Deploys `wasm` as the next release of `window`.
pub async fn deploy(host: &Host, window: &str, wasm: Vec<u8>) -> Deployed {
    let begin = Instant::now();
    let path = format!("/windows/{window}");
    let answer = host.admin(Method::PUT, &path, wasm).await;
    let took = begin.elapsed();
    assert!(
        answer.status.is_success(),
        "{window}: {} {}",
        answer.status,
        answer.text()
    );
    let json = answer.json();
    let steps = json["steps"].as_array().expect("the steps of the deploy");
    let step = |step: &serde_json::Value| {
        let name = step[0].as_str().expect("the name of a step");
        let ms = step[1].as_f64().expect("its milliseconds");
        (name.to_owned(), Duration::from_secs_f64(ms / 1000.0))
    };
    Deployed {
        took,
        steps: steps.iter().map(step).collect(),
    }
}

/// The times of many deploys.
#[derive(Default)]
pub struct Deploys {
    pub total: Times,
    steps: Vec<(String, Times)>,
    rest: Times,
}

impl Deploys {
    pub fn add(&mut self, deployed: &Deployed) {
        self.total.add(deployed.took);
        for (name, took) in &deployed.steps {
            let known = self.steps.iter().position(|(known, _)| known == name);
            let index = known.unwrap_or_else(|| {
                self.steps.push((name.clone(), Times::default()));
                self.steps.len() - 1
            });
            self.steps[index].1.add(*took);
        }
        let steps: Duration = deployed.steps.iter().map(|(_, took)| *took).sum();
        self.rest.add(deployed.took.saturating_sub(steps));
    }

    /// The median of each step, and of what is outside of them: taking in the upload, and clearing
    /// up behind.
    pub fn steps(&self) -> String {
        let part = |name: &str, times: &Times| format!("{name} {:.1}", times.percentile_ms(50.0));
        let mut parts: Vec<String> = self
            .steps
            .iter()
            .map(|(name, times)| part(name, times))
            .collect();
        parts.push(part("receive and clear", &self.rest));
        parts.join(", ")
    }
}
