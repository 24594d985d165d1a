use super::{FixedWindow, SlidingWindow, Steps, TokenBucket};

/// A kind by which what was spent comes back at set moments, for all who spent it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduled {
    /// A refill at each tick.
    TokenBucket(TokenBucket),
    /// All of it at each boundary.
    FixedWindow(FixedWindow),
    /// What a segment spent when the segment leaves the window.
    SlidingWindow(SlidingWindow),
}

/// What comes back when time goes on from one step to a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComesBack {
    /// At most so much of what was spent.
    Amount(u64),
    /// Everything that these places hold.
    Places(Vec<usize>),
}

impl Scheduled {
    /// Its moments, for a limit that has been of this kind since `since_ms`. `None` if nothing comes back by time.
    pub fn steps(self, since_ms: u64) -> Option<Steps> {
        match self {
            Self::TokenBucket(bucket) => bucket.steps(since_ms),
            Self::FixedWindow(window) => Some(window.steps()),
            Self::SlidingWindow(window) => Some(window.steps()),
        }
    }

    /// How many places keep what was spent apart. A window has one for each step that it keeps, and one more, so that
    /// what arrives late for a step that is over mixes with nothing that is kept for longer.
    pub fn places(self) -> usize {
        match self {
            Self::TokenBucket(_) => 1,
            Self::FixedWindow(_) => 2,
            Self::SlidingWindow(window) => window.segments() as usize + 1,
        }
    }

    /// Where what is spent in a step is kept.
    pub fn place(self, step: u64) -> usize {
        (step % self.places() as u64) as usize
    }

    /// What comes back between two steps.
    pub fn comes_back(self, from_step: u64, to_step: u64) -> ComesBack {
        match self {
            Self::TokenBucket(bucket) => {
                ComesBack::Amount(bucket.refilled(to_step.saturating_sub(from_step)))
            }
            Self::FixedWindow(_) => self.all_but_the_last(1, from_step, to_step),
            Self::SlidingWindow(window) => self.all_but_the_last(window.segments(), from_step, to_step),
        }
    }

    /// Every place but those of the last `kept` steps. Of these, the ones after `from_step` were not reached before, and
    /// their places hold what is older.
    fn all_but_the_last(self, kept: u32, from_step: u64, to_step: u64) -> ComesBack {
        let first_kept = (to_step + 1).saturating_sub(kept.into());
        let kept: Vec<usize> = (first_kept..=from_step).map(|step| self.place(step)).collect();
        ComesBack::Places((0..self.places()).filter(|place| !kept.contains(place)).collect())
    }

    /// When all that is spent at `now_ms`, in this step, has come back, if it is at most so much together with what was
    /// spent before: later nothing of it can be given back.
    pub fn over_at_ms(self, now_ms: u64, step: u64, spent_max: u64) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.over_at_ms(now_ms, spent_max),
            Self::FixedWindow(window) => window.steps().starts_at_ms(step + 1),
            Self::SlidingWindow(window) => window.steps().starts_at_ms(step + u64::from(window.segments())),
        }
    }

    /// Whether what will only come back in the future can be borrowed of it.
    pub fn lends(self) -> bool {
        match self {
            Self::TokenBucket(_) => true,
            Self::FixedWindow(_) | Self::SlidingWindow(_) => false,
        }
    }

    /// Whether each step brings everything back, so that who was denied need not wait for a second one.
    pub fn comes_back_whole(self) -> bool {
        match self {
            Self::FixedWindow(_) => true,
            Self::TokenBucket(_) | Self::SlidingWindow(_) => false,
        }
    }
}
