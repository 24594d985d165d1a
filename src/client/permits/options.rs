//! How many callers wait for permits, and who is served first.

/// The options of the queue of a [`PermitLimiter`](super::PermitLimiter).
///
/// By default only calls for 0 permits wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PermitOptions {
    /// The most permits that all waiters together wait for. Calls for 0 permits may always wait.
    pub queue_permits_max: u64,
    /// Who is served first.
    pub order: QueueOrder,
}

impl PermitOptions {
    /// The default as a constant: only calls for 0 permits wait, and the oldest waiter is served first.
    pub const NO_QUEUE: Self = Self { queue_permits_max: 0, order: QueueOrder::OldestFirst };

    /// Sets the most permits that all waiters together wait for. 0 by default.
    #[must_use]
    pub const fn queue_permits_max(self, queue_permits_max: u64) -> Self {
        Self { queue_permits_max, ..self }
    }

    /// Sets who is served first. The oldest waiter by default.
    #[must_use]
    pub const fn order(self, order: QueueOrder) -> Self {
        Self { order, ..self }
    }
}

/// The order in which waiters are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum QueueOrder {
    /// The oldest waiter first.
    ///
    /// A new caller takes no permits while others wait for some. So a waiter for many permits holds up all behind it.
    #[default]
    OldestFirst,
    /// The newest waiter first.
    ///
    /// A new caller may take free permits at once. If the queue is full, it evicts the oldest waiters.
    NewestFirst,
}
