use super::{Amount, Definition};

/// A definition with its live state. While a decrease waits, `definition.capacity` is still the current capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// What the operator said.
    pub definition: Definition,
    /// Whether it takes reservations.
    pub status: Status,
}

/// Whether a limit takes reservations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Active,
    /// Its capacity is being lowered; it takes none until that is applied.
    Decreasing {
        /// The capacity that waits to be applied, below the current one.
        to: Amount,
    },
    /// It was deleted and takes none. Its account stays, closed, so that what is reserved on it can be settled.
    Deleted,
}
