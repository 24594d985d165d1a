/// Who waits for permits, and who is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PermitOptions {
    /// How many permits may be waited for at a time, by all together. 0: nobody waits.
    pub queue_permits_max: u64,
    /// Who is served first.
    pub order: QueueOrder,
}

/// The order in which those who wait are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueOrder {
    /// Who came first. Nobody takes permits while others wait for some, so one who wants many holds up all behind.
    #[default]
    OldestFirst,
    /// Who came last. A newcomer may take what is free, and drives the oldest out of a full queue.
    NewestFirst,
}
