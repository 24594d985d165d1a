//! How many callers wait for permits, and who is served first.

/// The options of the queue of a [`PermitLimiter`](super::PermitLimiter).
///
/// By default only calls for 0 permits wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PermitOptions {
    /// The most permits that all waiters together wait for. Calls for 0 permits may always wait.
    pub queue_permits_max: u64,
    /// Who is served first.
    pub order: QueueOrder,
}

/// The order in which waiters are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
