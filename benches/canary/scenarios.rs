//! What is simulated.

/// Parts of a side's answers.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    pub(super) failing: f64,
    pub(super) slow: f64,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Callers {
    /// Another one each time.
    Distinct,
    /// So many, each as often as the other.
    Equal(u32),
    /// 2,000, of whom 5% fail at everything, 5% are slow at everything, and one, who fails at
    /// everything, sends half of the requests.
    Clustered,
    /// 3, of whom the first fails at everything and is slow.
    Three,
}

/// How the rates change.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Drift {
    None,
    /// They go up and down between nothing and twice, and at times half of all fails for a while.
    Waves,
    /// The candidate becomes as it is only after so many requests.
    Late(u32),
}

/// When answers end.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ends {
    AtOnce,
    /// The live release's failures a thousand requests later than the candidate's.
    LiveFailsLate,
}

#[derive(Clone)]
pub(super) struct Scenario {
    pub(super) name: String,
    /// Hundredths of a percent; each run has the next of them.
    pub(super) shares: Vec<u16>,
    pub(super) callers: Callers,
    pub(super) live: Rates,
    pub(super) candidate: Rates,
    pub(super) drift: Drift,
    pub(super) ends: Ends,
}

const SHARES: [u16; 4] = [100, 500, 1000, 5000];

fn rates(failing: f64, slow: f64) -> Rates {
    Rates { failing, slow }
}

fn alike(name: &str, shares: &[u16], callers: Callers, rates: Rates) -> Scenario {
    Scenario {
        name: name.into(),
        shares: shares.into(),
        callers,
        live: rates,
        candidate: rates,
        drift: Drift::None,
        ends: Ends::AtOnce,
    }
}

/// Candidates as good as the live release, each at all shares.
pub(super) fn good() -> Vec<Scenario> {
    let some = rates(0.01, 0.01);
    let distinct = |rate: f64| {
        let name = format!(
            "each request another caller, {}% and {}%",
            rate * 100.0,
            rate * 100.0
        );
        alike(&name, &SHARES, Callers::Distinct, rates(rate, rate))
    };
    let mut all: Vec<_> = [0.0, 0.001, 0.01, 0.1, 0.5].map(distinct).into();
    let thousand = alike(
        "1,000 callers, 1% and 1%",
        &SHARES,
        Callers::Equal(1000),
        some,
    );
    let clustered = "2,000 callers, of whom 5% fail and 5% are slow at everything, and one who fails sends half";
    let few = "3 callers, of whom one fails and is slow at everything";
    all.extend([
        Scenario {
            name: "1,000 callers, 0% to 2% in waves, and outages of 50%".into(),
            drift: Drift::Waves,
            ..thousand.clone()
        },
        Scenario {
            ends: Ends::LiveFailsLate,
            ..alike(
                "each request another caller, 10% and 1%, the live release's failures 10 s later",
                &SHARES,
                Callers::Distinct,
                rates(0.1, 0.01),
            )
        },
        alike(clustered, &SHARES, Callers::Clustered, rates(0.001, 0.001)),
        alike(few, &SHARES, Callers::Three, rates(0.001, 0.001)),
        thousand,
    ]);
    all
}

/// Candidates that are worse.
pub(super) fn worse() -> Vec<Scenario> {
    let mut all = Vec::new();
    let live = rates(0.001, 0.001);
    for (what, failing, slow) in [("failures", 1.0, 0.0), ("slow answers", 0.0, 1.0)] {
        for more in [0.01, 0.02, 0.05, 0.5] {
            for share in SHARES {
                let name = format!("{}% more {what}", more * 100.0);
                let candidate = rates(live.failing + failing * more, live.slow + slow * more);
                let scenario = alike(&name, &[share], Callers::Equal(5000), live);
                all.push(Scenario {
                    candidate,
                    ..scenario
                });
            }
        }
    }
    for (name, share, callers, failing, drift) in [
        (
            "everything fails",
            100,
            Callers::Equal(5000),
            1.0,
            Drift::None,
        ),
        (
            "everything fails",
            1000,
            Callers::Equal(5000),
            1.0,
            Drift::None,
        ),
        (
            "everything fails, 1 caller",
            10_000,
            Callers::Equal(1),
            1.0,
            Drift::None,
        ),
        (
            "everything fails, 3 callers",
            5000,
            Callers::Equal(3),
            1.0,
            Drift::None,
        ),
        (
            "20% more failures, 50 callers",
            1000,
            Callers::Equal(50),
            0.2,
            Drift::None,
        ),
        (
            "20% more failures, 50 callers",
            5000,
            Callers::Equal(50),
            0.2,
            Drift::None,
        ),
        (
            "everything fails, from the 50,000th request on",
            1000,
            Callers::Equal(5000),
            1.0,
            Drift::Late(50_000),
        ),
        (
            "5% more failures, from the 50,000th request on",
            1000,
            Callers::Equal(5000),
            0.05,
            Drift::Late(50_000),
        ),
    ] {
        let scenario = alike(name, &[share], callers, live);
        let candidate = rates(f64::min(1.0, live.failing + failing), live.slow);
        all.push(Scenario {
            candidate,
            drift,
            ..scenario
        });
    }
    all
}
