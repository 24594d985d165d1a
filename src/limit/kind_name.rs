//! The names of the kinds.

/// The name of a [`Kind`](super::Kind), without its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindName {
    /// See [`Kind::Rolling`](super::Kind::Rolling).
    Rolling,
    /// See [`Kind::Concurrency`](super::Kind::Concurrency).
    Concurrency,
    /// See [`Kind::TokenBucket`](super::Kind::TokenBucket).
    TokenBucket,
    /// See [`Kind::FixedWindow`](super::Kind::FixedWindow).
    FixedWindow,
    /// See [`Kind::SlidingWindow`](super::Kind::SlidingWindow).
    SlidingWindow,
    /// See [`Kind::Calendar`](super::Kind::Calendar).
    Calendar,
}

impl KindName {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            KindName::Rolling => "rolling",
            KindName::Concurrency => "concurrency",
            KindName::TokenBucket => "token_bucket",
            KindName::FixedWindow => "fixed_window",
            KindName::SlidingWindow => "sliding_window",
            KindName::Calendar => "calendar",
        }
    }
}
