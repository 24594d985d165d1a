//! The refill schedules, computed anew: when a step begins, and what refills may add.

use super::accounts::Sums;
use super::definition::Kind;

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// The schedule of a limit since one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) since_version: u64,
    pub(super) kind: Kind,
    pub(super) clock: u128,
    /// When it took effect, in nanoseconds since the Unix epoch.
    pub(super) since_ns: u64,
    /// An earlier phase of the clock is one of an earlier schedule.
    pub(super) phases_from_ns: u64,
    /// Of a calendar window.
    pub(super) first_window_ends_ms: Option<u64>,
}

/// The value of a refill clock, in its ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// Up to when refills have been made.
    pub(super) refilled_to: u128,
    /// From when the steps of a bucket count; 0 if no reserve found it full. Of a window that is refilled on request: how many steps
    /// have ended.
    pub(super) phase: u128,
}

impl Clock {
    pub(super) fn of(sums: &Sums) -> Self {
        Self { refilled_to: sums.credits_posted, phase: sums.debits_posted }
    }
}

/// Equal steps in time. Step n begins at the first whole tick that is n steps after the anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    anchor_ns: u64,
    /// The length of `per_span` steps, in nanoseconds.
    span_ns: u128,
    per_span: u32,
    tick_ns: u64,
}

impl Steps {
    fn at(self, ns: u64) -> u128 {
        let tick_began_ns = ns / self.tick_ns * self.tick_ns;
        u128::from(tick_began_ns.saturating_sub(self.anchor_ns)) * u128::from(self.per_span) / self.span_ns
    }
}

/// Whether the clock of a kind counts nanoseconds, because its steps are shorter than a millisecond.
pub(super) fn counts_ns(kind: Kind) -> bool {
    match kind {
        Kind::Bucket { interval_ms, per_interval, is_timed, .. } => {
            is_timed && u64::from(per_interval) > interval_ms
        }
        Kind::Rolling { .. }
        | Kind::Concurrency { .. }
        | Kind::FixedWindow { .. }
        | Kind::SlidingWindow { .. }
        | Kind::Calendar => false,
    }
}

/// How long a step of a window lasts at least, in milliseconds, if it ends on request; `None` for other kinds.
pub(super) fn step_by_hand_ms(kind: Kind) -> Option<u64> {
    match kind {
        Kind::FixedWindow { window_ms, is_timed: false, .. } => Some(window_ms),
        Kind::SlidingWindow { window_ms, segments, is_timed: false } => {
            Some(window_ms.div_ceil(segments.max(1).into()))
        }
        Kind::FixedWindow { .. }
        | Kind::SlidingWindow { .. }
        | Kind::Bucket { .. }
        | Kind::Calendar
        | Kind::Rolling { .. }
        | Kind::Concurrency { .. } => None,
    }
}

/// Whether the clock of a kind shows when the present step ends, or may end.
pub(super) fn shows_step_end(kind: Kind) -> bool {
    kind == Kind::Calendar || step_by_hand_ms(kind).is_some()
}

/// The number of spent accounts of a kind; 0 without a schedule.
pub(super) fn spent_accounts(kind: Kind) -> u32 {
    match kind {
        Kind::Rolling { .. } | Kind::Concurrency { .. } => 0,
        Kind::Bucket { .. } => 1,
        Kind::FixedWindow { .. } | Kind::Calendar => 2,
        Kind::SlidingWindow { segments, .. } => segments.saturating_add(1),
    }
}

impl Schedule {
    pub(super) fn is_bucket(&self) -> bool {
        matches!(self.kind, Kind::Bucket { .. })
    }

    /// The steps; `None` of a limit that is refilled on request.
    fn steps(&self, phase: u128) -> Option<Steps> {
        let tick_ns = self.tick_ns();
        let is_phase = phase > 0 && self.moment(phase) >= self.phases_from_ns;
        match self.kind {
            Kind::Bucket { interval_ms, per_interval, is_timed, .. } => is_timed.then(|| Steps {
                anchor_ns: if is_phase { self.moment(phase) } else { self.since_ns },
                span_ns: u128::from(interval_ms.max(1)) * u128::from(NS_PER_MS),
                per_span: per_interval,
                tick_ns,
            }),
            Kind::FixedWindow { window_ms, align_seconds, is_timed } => is_timed.then(|| Steps {
                anchor_ns: u64::from(align_seconds) * NS_PER_SECOND,
                span_ns: u128::from(window_ms.max(1)) * u128::from(NS_PER_MS),
                per_span: 1,
                tick_ns,
            }),
            Kind::SlidingWindow { window_ms, segments, is_timed } => is_timed.then(|| Steps {
                anchor_ns: 0,
                span_ns: u128::from(window_ms.max(1)) * u128::from(NS_PER_MS),
                per_span: segments,
                tick_ns,
            }),
            Kind::Rolling { .. } | Kind::Concurrency { .. } | Kind::Calendar => None,
        }
    }

    /// Whether the clock may advance at a moment.
    pub(super) fn may_advance(&self, from: Clock, to: Clock, now_ns: u64) -> bool {
        let tick_ns = self.tick_ns();
        if let Some(step_ms) = step_by_hand_ms(self.kind) {
            // The clock shows until when the present step lasts at least. The next one lasts as long.
            let length_ns = step_ms.saturating_mul(NS_PER_MS);
            let first_ends_ns = (self.since_ns / NS_PER_MS * NS_PER_MS).saturating_add(length_ns);
            let ends_ns = self.moment(from.refilled_to).max(first_ends_ns);
            let next_ends_ns = self.moment(to.refilled_to);
            let allowed_ns = ends_ns.saturating_add(length_ns)..=now_ns.saturating_add(length_ns);
            return ends_ns <= now_ns && allowed_ns.contains(&next_ends_ns);
        }
        match self.kind {
            // The clock shows when the present window ends.
            Kind::Calendar => {
                let first_ms = self.first_window_ends_ms.unwrap_or(0);
                let ends_ns = self.moment(from.refilled_to.max(first_ms.into()));
                ends_ns <= now_ns && self.moment(to.refilled_to) > ends_ns
            }
            // The interval of a full bucket begins with the next tick.
            Kind::Bucket { .. } => self.moment(to.refilled_to) < now_ns.saturating_add(tick_ns),
            Kind::FixedWindow { .. }
            | Kind::SlidingWindow { .. }
            | Kind::Rolling { .. }
            | Kind::Concurrency { .. } => self.moment(to.refilled_to) <= now_ns,
        }
    }

    /// The unit of the refill clock, in nanoseconds.
    pub(super) fn tick_ns(&self) -> u64 {
        if counts_ns(self.kind) { 1 } else { NS_PER_MS }
    }

    /// How many steps begin between two values of the refill clock.
    pub(super) fn steps_between(&self, from: Clock, to: Clock) -> u128 {
        if shows_step_end(self.kind) {
            // `may_advance` has checked that a window or segment ended.
            return u128::from(to.refilled_to > from.refilled_to);
        }
        let at = |clock: Clock| self.moment(clock.refilled_to).max(self.since_ns);
        self.steps(from.phase).map_or(0, |steps| steps.at(at(to)).saturating_sub(steps.at(at(from))))
    }

    /// The most that refills by time add between two values of the clock; `None` for a window, which is refilled whole.
    pub(super) fn refilled_between(&self, from: Clock, to: Clock) -> Option<u128> {
        match self.kind {
            Kind::Bucket { refill_amount, .. } => {
                Some(self.steps_between(from, to).saturating_mul(refill_amount.into()))
            }
            Kind::FixedWindow { .. }
            | Kind::SlidingWindow { .. }
            | Kind::Calendar
            | Kind::Rolling { .. }
            | Kind::Concurrency { .. } => None,
        }
    }

    /// The part of a refill that the rate of a bucket has earned of the step that is running at this value of the clock.
    pub(super) fn earned_of_step(&self, clock: Clock) -> u128 {
        match (self.kind, self.steps(clock.phase)) {
            (Kind::Bucket { refill_amount, .. }, Some(steps)) => {
                let moment = self.moment(clock.refilled_to).max(self.since_ns);
                let since_ns = u128::from(moment.saturating_sub(steps.anchor_ns));
                let passed = since_ns * u128::from(steps.per_span) % steps.span_ns;
                passed.saturating_mul(refill_amount.into()) / steps.span_ns
            }
            (_, _) => 0,
        }
    }

    /// Whether a refill at this value of the clock must leave a spent account alone, because it may hold what was spent in a step
    /// that is still in the window.
    pub(super) fn keeps(&self, spent_index: u32, from: Clock, to: Clock) -> bool {
        let kept = match self.kind {
            Kind::SlidingWindow { segments, .. } => u128::from(segments),
            Kind::FixedWindow { .. } => 1,
            Kind::Bucket { .. } | Kind::Calendar | Kind::Rolling { .. } | Kind::Concurrency { .. } => {
                return false;
            }
        };
        let at = |steps: Steps, clock: Clock| steps.at(self.moment(clock.refilled_to).max(self.since_ns));
        let (from_step, to_step) = match self.steps(0) {
            Some(steps) => (at(steps, from), at(steps, to)),
            // On request, one step ends at a time.
            None => (from.phase, from.phase + 1),
        };
        let first_kept = (to_step + 1).saturating_sub(kept);
        let accounts = u128::from(spent_accounts(self.kind));
        (first_kept..=from_step).any(|step| step % accounts == u128::from(spent_index))
    }

    /// Whether a window may keep a reservation at this index, of which the user data says when it is refilled: the step is not
    /// in the future, and the index is its own.
    pub(super) fn may_spend(&self, spent_index: u32, refilled_at_ms: u64, now_ns: u64) -> bool {
        let lasts = match self.kind {
            Kind::FixedWindow { .. } => 1,
            Kind::SlidingWindow { segments, .. } => u128::from(segments),
            Kind::Bucket { .. } | Kind::Calendar | Kind::Rolling { .. } | Kind::Concurrency { .. } => {
                return true;
            }
        };
        self.steps(0).is_none_or(|steps| {
            let step = steps.at(refilled_at_ms.saturating_mul(NS_PER_MS)).checked_sub(lasts);
            let accounts = u128::from(spent_accounts(self.kind));
            step.is_some_and(|step| step <= steps.at(now_ns) && step % accounts == u128::from(spent_index))
        })
    }

    /// The moment of a value of the clock, in nanoseconds since the Unix epoch.
    fn moment(&self, clock: u128) -> u64 {
        u64::try_from(clock.saturating_mul(self.tick_ns().into())).unwrap_or(u64::MAX)
    }
}
