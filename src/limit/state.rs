use super::{Amount, Definition, LimitKey, Scheduled};

/// A definition with its live state. While a decrease waits, `definition.capacity` is still the current capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// What the operator said.
    pub definition: Definition,
    /// Whether it takes reservations.
    pub status: Status,
    /// Of a limit that a template made and nobody has changed by hand, that template.
    pub origin: Option<Box<Origin>>,
}

/// The template that a limit was made from, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its key.
    pub template: LimitKey,
    /// Its version.
    pub version: u64,
}

impl LimitState {
    /// The schedule by which what was spent of it comes back, if its kind has one. Nothing is spent of a template.
    pub fn scheduled(&self) -> Option<Scheduled> {
        self.definition.kind.scheduled().filter(|_| self.definition.instances_max.is_none())
    }

    /// Whether its schedule is another than it was in an earlier version. The log that all read does not tell the versions
    /// that a template made, so a limit that is taken out of its template's hands begins anew.
    pub fn begins_schedule(&self, earlier: Option<&LimitState>) -> bool {
        earlier.is_none_or(|earlier| {
            earlier.definition.kind != self.definition.kind
                || earlier.origin.is_some() && self.origin.is_none()
        })
    }

    /// A limit as an operator defined it.
    pub fn active(definition: Definition) -> Self {
        Self { definition, status: Status::Active, origin: None }
    }
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
