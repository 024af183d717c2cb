//! Which traces are recorded: the samplers of OpenTelemetry, by the names of
//! `OTEL_TRACES_SAMPLER`.

use hms_core::trace::TraceContext;

/// Bits of a trace id that are random by W3C Trace Context level 2: the lowest 56.
const RANDOM_BITS: u32 = 56;

/// Decides for each trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Traces with random bits from there on are recorded.
    threshold: u64,
    /// The decision of a trusted proxy holds for what is below it.
    parent_based: bool,
}

impl Sampler {
    /// Nothing is recorded here; what a trusted proxy has decided is passed on.
    pub fn off() -> Self {
        Sampler::new("parentbased_always_off", None).unwrap_or(Sampler {
            threshold: 1 << RANDOM_BITS,
            parent_based: true,
        })
    }

    /// By the values of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    ///
    /// # Errors
    /// A sentence that says which value cannot be used.
    pub fn new(name: &str, argument: Option<&str>) -> Result<Self, String> {
        let (name, parent_based) = match name.strip_prefix("parentbased_") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let share = match name {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio(argument)?,
            _ => {
                return Err(format!(
                    "OTEL_TRACES_SAMPLER='{}{name}' is not a sampler that the host knows: use \
                     always_on, always_off, traceidratio, parentbased_always_on, \
                     parentbased_always_off or parentbased_traceidratio",
                    if parent_based { "parentbased_" } else { "" }
                ));
            }
        };
        let all = (1u64 << RANDOM_BITS) as f64;
        Ok(Sampler {
            threshold: ((1.0 - share) * all).round() as u64,
            parent_based,
        })
    }

    /// Whether the trace is recorded; `above` is a trusted proxy's place in it.
    pub fn decides(&self, trace_id: u128, above: Option<TraceContext>) -> bool {
        match above {
            Some(above) if self.parent_based => above.sampled,
            _ => trace_id as u64 & ((1 << RANDOM_BITS) - 1) >= self.threshold,
        }
    }
}

fn ratio(argument: Option<&str>) -> Result<f64, String> {
    let Some(argument) = argument else {
        return Ok(1.0);
    };
    let share = argument.trim().parse::<f64>().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| {
            format!(
                "OTEL_TRACES_SAMPLER_ARG='{argument}' is not a share of traces: use a number from \
                 0 to 1, such as 0.01 for one in a hundred"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_keeps_about_that_share_of_traces() {
        let sampler = Sampler::new("traceidratio", Some("0.25")).unwrap();
        let kept = (0..4000).filter(|_| sampler.decides(TraceContext::new(false).trace_id, None));
        let kept = kept.count();
        assert!((800..1200).contains(&kept), "{kept}");
    }

    #[test]
    fn bounds_keep_all_and_nothing() {
        for (name, argument, kept) in [
            ("always_on", None, true),
            ("always_off", None, false),
            ("traceidratio", None, true),
            ("traceidratio", Some("0"), false),
            ("parentbased_traceidratio", Some("1.0"), true),
        ] {
            let sampler = Sampler::new(name, argument).unwrap();
            for id in [0, u128::MAX, 1 << 55, 12345] {
                assert_eq!(sampler.decides(id, None), kept, "{name} {argument:?}");
            }
        }
    }

    #[test]
    fn parent_decides_where_the_sampler_is_based_on_it() {
        for sampled in [true, false] {
            let above = Some(TraceContext::new(sampled));
            let based = Sampler::new("parentbased_always_on", None).unwrap();
            assert_eq!(based.decides(7, above), sampled);
            let own = Sampler::new("always_on", None).unwrap();
            assert!(own.decides(7, above));
        }
    }

    #[test]
    fn unusable_settings_are_refused_with_a_sentence() {
        let why = Sampler::new("jaeger_remote", None).unwrap_err();
        assert!(why.contains("OTEL_TRACES_SAMPLER='jaeger_remote'"), "{why}");
        for bad in ["2", "-0.1", "NaN", "x", ""] {
            let why = Sampler::new("traceidratio", Some(bad)).unwrap_err();
            assert!(why.contains("from 0 to 1"), "{why}");
        }
    }
}
