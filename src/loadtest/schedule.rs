//! Turns the profile of the offered load, which is a rate, into the intended start of each call. Nothing here waits.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

/// How many reserves a second are offered over the measured time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Profile {
    Constant {
        rate: f64,
    },
    /// A rate that changes evenly from `from` to `to`.
    Ramp {
        from: f64,
        to: f64,
    },
    /// Each rate in turn, for an equal part of the time.
    Step {
        rates: Vec<f64>,
    },
    /// A base rate; each period of `every_seconds` ends with `for_seconds` at the peak rate.
    Burst {
        base: f64,
        peak: f64,
        every_seconds: f64,
        for_seconds: f64,
    },
}

/// Why a text is not a profile.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error(
        "must be constant:RATE, ramp:FROM:TO, step:RATE:RATE[:RATE...] or burst:BASE:PEAK:EVERY_SECONDS:FOR_SECONDS"
    )]
    Form,
    #[error("{0:?} must be a number above 0")]
    Number(String),
    #[error("FOR_SECONDS of a burst must be less than EVERY_SECONDS")]
    BurstTooLong,
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let (name, rest) = text.split_once(':').ok_or(ProfileError::Form)?;
        let numbers: Vec<f64> = rest.split(':').map(positive).collect::<Result<_, _>>()?;
        match (name, numbers.as_slice()) {
            ("constant", [rate]) => Ok(Self::Constant { rate: *rate }),
            ("ramp", [from, to]) => Ok(Self::Ramp { from: *from, to: *to }),
            ("step", [_, _, ..]) => Ok(Self::Step { rates: numbers }),
            ("burst", [base, peak, every_seconds, for_seconds]) => {
                if for_seconds >= every_seconds {
                    return Err(ProfileError::BurstTooLong);
                }
                let (base, peak, every_seconds, for_seconds) = (*base, *peak, *every_seconds, *for_seconds);
                Ok(Self::Burst { base, peak, every_seconds, for_seconds })
            }
            _ => Err(ProfileError::Form),
        }
    }
}

fn positive(text: &str) -> Result<f64, ProfileError> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| ProfileError::Number(text.to_owned()))
}

/// A stretch of time in which the rate changes evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    starts_seconds: f64,
    seconds: f64,
    from: f64,
    to: f64,
    /// How many calls start before it.
    calls_before: f64,
}

/// The intended start of each call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule {
    stretches: Vec<Stretch>,
    calls: f64,
}

impl Schedule {
    /// The warm-up has the first rate of the profile. A call carries `batch` reserves.
    pub(crate) fn new(profile: &Profile, warmup: Duration, duration: Duration, batch: usize) -> Self {
        let stretches = profile.stretches(duration.as_secs_f64());
        let first_rate = stretches.first().map_or(0.0, |(_, from, _)| *from);
        let mut schedule = Self { stretches: Vec::new(), calls: 0.0 };
        let mut starts_seconds = 0.0;
        for (seconds, from, to) in
            std::iter::once((warmup.as_secs_f64(), first_rate, first_rate)).chain(stretches)
        {
            #[expect(clippy::cast_precision_loss, reason = "a batch has a few hundred items")]
            let (from, to) = (from / batch as f64, to / batch as f64);
            let calls_before = schedule.calls;
            schedule.stretches.push(Stretch { starts_seconds, seconds, from, to, calls_before });
            schedule.calls += seconds * (from + to) / 2.0;
            starts_seconds += seconds;
        }
        schedule
    }

    /// The intended start of a call, counted from the start of the run. Calls are numbered from 0; `None` after the
    /// last.
    pub(crate) fn start_of(&self, call: u64) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a run has far fewer calls than a double counts exactly"
        )]
        let call = call as f64;
        if call >= self.calls {
            return None;
        }
        let next = self.stretches.partition_point(|stretch| stretch.calls_before <= call);
        let stretch = self.stretches.get(next.checked_sub(1)?)?;
        Some(Duration::from_secs_f64(
            stretch.starts_seconds + stretch.seconds_until_call(call - stretch.calls_before),
        ))
    }
}

impl Stretch {
    /// The time until so many calls have started: the positive root of `from t + (to - from) t^2 / 2 seconds = calls`.
    ///
    /// This form of the root keeps its digits and does not divide by the difference of the rates, which may be 0.
    fn seconds_until_call(&self, calls: f64) -> f64 {
        if calls <= 0.0 {
            return 0.0;
        }
        let twice_slope = 2.0 * (self.to - self.from) / self.seconds;
        2.0 * calls / (self.from + (self.from * self.from + twice_slope * calls).max(0.0).sqrt())
    }
}

impl Profile {
    /// The stretches of the profile, each as its seconds, its first rate and its last rate.
    fn stretches(&self, seconds: f64) -> Vec<(f64, f64, f64)> {
        match self {
            Self::Constant { rate } => vec![(seconds, *rate, *rate)],
            Self::Ramp { from, to } => vec![(seconds, *from, *to)],
            Self::Step { rates } => {
                #[expect(clippy::cast_precision_loss, reason = "there are a few steps")]
                let each = seconds / rates.len() as f64;
                rates.iter().map(|rate| (each, *rate, *rate)).collect()
            }
            Self::Burst { base, peak, every_seconds, for_seconds } => {
                let mut stretches = Vec::new();
                let mut left = seconds;
                while left > 0.0 {
                    let at_base = (every_seconds - for_seconds).min(left);
                    let at_peak = for_seconds.min(left - at_base);
                    stretches.extend([(at_base, *base, *base), (at_peak, *peak, *peak)]);
                    left -= at_base + at_peak;
                }
                stretches.retain(|(seconds, _, _)| *seconds > 0.0);
                stretches
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(profile: &str, warmup_seconds: u64, seconds: u64, batch: usize) -> Vec<f64> {
        let profile = profile.parse().expect("a profile");
        let schedule =
            Schedule::new(&profile, Duration::from_secs(warmup_seconds), Duration::from_secs(seconds), batch);
        (0..).map_while(|call| schedule.start_of(call)).map(|start| start.as_secs_f64()).collect()
    }

    /// How many calls start in each second.
    fn per_second(starts: &[f64], seconds: u32) -> Vec<usize> {
        let within = |second| move |start: &&f64| (f64::from(second)..f64::from(second + 1)).contains(*start);
        (0..seconds).map(|second| starts.iter().filter(within(second)).count()).collect()
    }

    #[test]
    fn a_constant_rate_spaces_calls_evenly_from_the_warm_up_on() {
        assert_eq!(starts("constant:4", 1, 1, 1), [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]);
        assert_eq!(starts("constant:4", 0, 2, 2), [0.0, 0.5, 1.0, 1.5], "a batch of two is two reserves");
    }

    #[test]
    fn a_ramp_changes_the_rate_evenly() {
        for (profile, counts) in [
            ("ramp:100:300", [110, 130, 150, 170, 190, 210, 230, 250, 270, 290]),
            ("ramp:300:100", [290, 270, 250, 230, 210, 190, 170, 150, 130, 110]),
        ] {
            let starts = starts(profile, 0, 10, 1);
            assert!(starts.is_sorted(), "{profile}");
            let calls = per_second(&starts, 10);
            // Rounding may move a call at the edge of a second to the other side.
            let is_near = calls.iter().zip(counts).all(|(calls, count)| calls.abs_diff(count) <= 1);
            assert!(is_near, "{profile}: {calls:?}");
        }
    }

    #[test]
    fn steps_share_the_time_equally() {
        assert_eq!(per_second(&starts("step:10:40:20", 0, 3, 1), 3), [10, 40, 20]);
    }

    #[test]
    fn a_burst_ends_each_period() {
        assert_eq!(per_second(&starts("burst:10:100:3:1", 1, 7, 1), 8), [10, 10, 10, 100, 10, 10, 100, 10]);
    }

    #[test]
    fn a_wrong_profile_is_refused() {
        for (text, error) in [
            ("constant", ProfileError::Form),
            ("sine:1:2", ProfileError::Form),
            ("ramp:1", ProfileError::Form),
            ("step:1", ProfileError::Form),
            ("constant:0", ProfileError::Number("0".to_owned())),
            ("ramp:1:x", ProfileError::Number("x".to_owned())),
            ("constant:inf", ProfileError::Number("inf".to_owned())),
            ("burst:1:2:3:3", ProfileError::BurstTooLong),
        ] {
            assert_eq!(text.parse::<Profile>(), Err(error), "{text}");
        }
    }
}
