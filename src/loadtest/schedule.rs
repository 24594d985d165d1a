//! When calls are to start: the profile of the offered load, turned around from a rate into times. Nothing here waits.

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
    /// From one rate to another, evenly.
    Ramp {
        from: f64,
        to: f64,
    },
    /// One rate after the other, each for the same part of the time.
    Step {
        rates: Vec<f64>,
    },
    /// A base rate, and every `every_seconds` a higher one for `for_seconds`.
    Burst {
        base: f64,
        peak: f64,
        every_seconds: f64,
        for_seconds: f64,
    },
}

/// Why a text is no profile.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error(
        "must be constant:RATE, ramp:FROM:TO, step:RATE:RATE[:RATE...] or burst:BASE:PEAK:EVERY_SECONDS:FOR_SECONDS"
    )]
    Form,
    #[error("{0:?} is no rate over 0")]
    Number(String),
    #[error("a burst must be shorter than the time from one to the next")]
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

/// A stretch of time in which the rate goes evenly from one value to another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    starts_seconds: f64,
    seconds: f64,
    from: f64,
    to: f64,
    /// How many calls are due before it.
    calls_before: f64,
}

/// The intended start of each call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule {
    stretches: Vec<Stretch>,
    calls: f64,
}

impl Schedule {
    /// The warm-up goes at the rate that the profile begins with. A call carries `batch` reserves.
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

    /// When the call of this number, from 0 on, is to start, counted from the start of all; `None` after the last.
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
            stretch.starts_seconds + stretch.seconds_until(call - stretch.calls_before),
        ))
    }
}

impl Stretch {
    /// How long it takes until this many calls are due: the positive root of `from t + (to - from) t^2 / 2 seconds`, in
    /// the form that loses no digits and does not divide by the difference.
    fn seconds_until(&self, calls: f64) -> f64 {
        if calls <= 0.0 {
            return 0.0;
        }
        let bend = 2.0 * (self.to - self.from) / self.seconds;
        2.0 * calls / (self.from + (self.from * self.from + bend * calls).max(0.0).sqrt())
    }
}

impl Profile {
    /// Stretches of time with the rates at their ends.
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
                    let quiet = (every_seconds - for_seconds).min(left);
                    let loud = for_seconds.min(left - quiet);
                    stretches.extend([(quiet, *base, *base), (loud, *peak, *peak)]);
                    left -= quiet + loud;
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
    fn a_constant_rate_spaces_calls_evenly_and_the_warm_up_goes_at_it() {
        assert_eq!(starts("constant:4", 1, 1, 1), [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]);
        assert_eq!(starts("constant:4", 0, 2, 2), [0.0, 0.5, 1.0, 1.5], "a batch of two is two reserves");
    }

    #[test]
    fn a_ramp_offers_the_mean_of_its_ends_and_never_goes_back() {
        for (profile, counts) in [
            ("ramp:100:300", [110, 130, 150, 170, 190, 210, 230, 250, 270, 290]),
            ("ramp:300:100", [290, 270, 250, 230, 210, 190, 170, 150, 130, 110]),
        ] {
            let starts = starts(profile, 0, 10, 1);
            assert!(starts.is_sorted(), "{profile}");
            let told = per_second(&starts, 10);
            // A call at the very edge of a second may count on either side of it.
            let near = told.iter().zip(counts).all(|(told, count)| told.abs_diff(count) <= 1);
            assert!(near, "{profile}: {told:?}");
        }
    }

    #[test]
    fn steps_share_the_time_and_bursts_come_at_the_end_of_each_period() {
        assert_eq!(per_second(&starts("step:10:40:20", 0, 3, 1), 3), [10, 40, 20]);
        assert_eq!(per_second(&starts("burst:10:100:3:1", 1, 7, 1), 8), [10, 10, 10, 100, 10, 10, 100, 10]);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
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
