//! `PUT /windows/NAME`: the answer to a deploy, and its progress.

use crate::words::words;
use crate::{Problem, Release, Word};
use serde::{Deserialize, Serialize};

/// A deploy that succeeded: the answer to `PUT /windows/NAME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// The window.
    pub window: String,
    /// The new release.
    pub release: Release,
    /// The release that was live before and drains now, if there is one.
    pub replaced: Option<u64>,
    /// The canary's share of the traffic, such as `10%`. None if the release is live.
    pub canary: Option<String>,
    /// What differs from the release that was live, if there was one.
    pub difference: Option<Difference>,
    /// Imported interfaces that no window is given: a call of their functions ends the request.
    #[serde(default)]
    pub trapped: Vec<String>,
    /// Sentences about what a first release imports and a grant would allow. Of another release the
    /// difference has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Each step and how long it took, in milliseconds.
    #[serde(default)]
    pub steps: Vec<(Step, f64)>,
}

/// A new release compared with the live one. Versions of interfaces are ignored: a newer version is
/// no new need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The release compared with.
    pub live: u64,
    /// Bytes before and after.
    pub size: (u64, u64),
    /// Exported interfaces.
    #[serde(default)]
    pub exports: GainedAndLost,
    /// Imported interfaces.
    #[serde(default)]
    pub imports: GainedAndLost,
    /// What the release may do, because it imports an interface and its window is granted what that
    /// leads to: phrases such as `POST https://api.card.example/v1/charges/**
    /// (windows/payments.yaml:3)`.
    #[serde(default)]
    pub capabilities: GainedAndLost,
    /// Imported interfaces that no window is given: a call of their functions ends the request.
    #[serde(default)]
    pub trapped: GainedAndLost,
    /// Remarks, such as an import that nothing is granted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Names that one release has and the other has not, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GainedAndLost {
    /// Those of the new release alone.
    pub gained: Vec<String>,
    /// Those of the live release alone.
    pub lost: Vec<String>,
}

words! {
    /// A step of a deploy, in order.
    pub enum Step {
        /// The component is a window.
        Check = "check",
        /// It is compiled.
        Compile = "compile",
        /// One instance has started, and has answered the probe if there is one.
        Try = "try",
        /// The release is on disk.
        Record = "record",
        /// The release gets requests.
        Swap = "swap",
    }
}

/// What happens during a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeployEvent {
    /// A step is done.
    Step {
        /// Which.
        step: Step,
        /// How long it took, in milliseconds.
        ms: f64,
    },
    /// The deploy waits for something scarce.
    Waiting {
        /// What it waits for.
        waiting: Word,
        /// How many deploys are before it.
        ahead: usize,
    },
    /// How the new release differs from the live one.
    Difference {
        /// The difference.
        difference: Box<Difference>,
    },
}

/// A line of the answer to `PUT /windows/NAME` with `Accept: application/x-ndjson`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, from = "AnyLine")]
pub enum DeployLine {
    /// The deploy continues.
    Event(DeployEvent),
    /// It succeeded. The last line.
    Deployed {
        /// What was deployed.
        deployed: Box<Deployed>,
    },
    /// It failed. The last line.
    Problem {
        /// Why.
        problem: Problem,
    },
    /// A line that this version does not know. The host never writes it.
    Unknown {},
}

/// A line as it is read: an untagged enum would not say what is wrong with a line.
#[derive(Deserialize)]
struct AnyLine {
    deployed: Option<Box<Deployed>>,
    problem: Option<Problem>,
    difference: Option<Box<Difference>>,
    waiting: Option<Word>,
    #[serde(default)]
    ahead: usize,
    step: Option<Step>,
    #[serde(default)]
    ms: f64,
}

impl From<AnyLine> for DeployLine {
    fn from(line: AnyLine) -> Self {
        let (ahead, ms) = (line.ahead, line.ms);
        if let Some(problem) = line.problem {
            DeployLine::Problem { problem }
        } else if let Some(deployed) = line.deployed {
            DeployLine::Deployed { deployed }
        } else if let Some(difference) = line.difference {
            DeployLine::Event(DeployEvent::Difference { difference })
        } else if let Some(waiting) = line.waiting {
            DeployLine::Event(DeployEvent::Waiting { waiting, ahead })
        } else if let Some(step) = line.step {
            DeployLine::Event(DeployEvent::Step { step, ms })
        } else {
            DeployLine::Unknown {}
        }
    }
}
