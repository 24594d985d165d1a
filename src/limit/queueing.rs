//! How callers of a limit wait for it at the server.

/// How callers of a limit wait for it at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queueing {
    /// Who is served first.
    pub order: QueueOrder,
    /// The most units of the limit that may be waited for in one process. `None` leaves only the bound on the waiters of the
    /// process; 0 means that nobody waits.
    pub max_waiting: Option<u64>,
}

/// The order in which waiters are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueueOrder {
    /// By priority and age.
    #[default]
    OldestFirst,
    /// By priority, the newest first.
    NewestFirst,
}
