//! What to change so that a service has the wanted limits. Pure: nothing here asks or changes a service.

use std::collections::BTreeMap;

use ledger_limiter::client::{Definition, ExpectedVersion, KindName, LimitInfo, LimitKey};

/// A limit as the service has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    /// The definition as an operator last put it: while a lower capacity waits to be applied, it has that one.
    pub(super) definition: Definition,
    pub(super) version: u64,
}

/// The limits that a plan is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scope {
    /// Only keys that begin with this text.
    pub(super) prefix: String,
    /// Deletes every other limit of the prefix.
    pub(super) prunes: bool,
}

/// What to change, in the order in which it is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    /// The wanted limits that the service has already.
    pub(super) unchanged: usize,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Create(Definition),
    Update { before: Present, after: Definition },
    Delete(Present),
}

/// What to do after a change whose outcome is unknown, or that found another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The service is as the change would leave it.
    Done,
    /// Only the version differs from what the plan saw, as when a lower capacity was applied.
    Repeat(Box<Change>),
    /// Somebody else changed the limit. The plan that was shown is not true any more.
    GiveUp,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(
        "limit {key} is of kind {}, which cannot be changed to {}; delete the limit first",
        from.as_str(), to.as_str()
    )]
    KindChange { key: LimitKey, from: KindName, to: KindName },
    #[error(
        "limit {key} does not begin with the prefix {prefix:?}; leave it out, or choose another --prefix"
    )]
    OutsidePrefix { key: LimitKey, prefix: String },
    #[error(
        "no wanted limit begins with {0:?}, so all limits of that prefix would be deleted; delete them by name"
    )]
    PrunesAll(String),
    #[error(
        "the service does not tell the versions of limits; upgrade it before you change limits with this program"
    )]
    NoVersion,
}

impl Present {
    pub(super) fn of(limit: LimitInfo) -> Result<Self, PlanError> {
        let LimitInfo { mut definition, status, version, .. } = limit;
        definition.capacity = status.decreases_to().unwrap_or(definition.capacity);
        Self::with_version(definition, version)
    }

    pub(super) fn with_version(definition: Definition, version: u64) -> Result<Self, PlanError> {
        // Versions count from 1.
        if version == 0 { Err(PlanError::NoVersion) } else { Ok(Self { definition, version }) }
    }
}

impl Change {
    pub(super) fn key(&self) -> &LimitKey {
        match self {
            Self::Create(definition) => &definition.key,
            Self::Update { before: present, .. } | Self::Delete(present) => &present.definition.key,
        }
    }

    /// The version that the change replaces.
    pub(super) fn expects(&self) -> ExpectedVersion {
        match self {
            Self::Create(_) => ExpectedVersion::Undefined,
            Self::Update { before: present, .. } | Self::Delete(present) => {
                ExpectedVersion::Is(present.version)
            }
        }
    }

    /// The same change, once more.
    fn repeated(self) -> Next {
        Next::Repeat(Box::new(self))
    }

    /// What to do next, if the service has `present` after this change was tried.
    pub(super) fn next(self, present: Option<Present>) -> Next {
        match (self, present) {
            (Self::Create(definition), None) => Self::Create(definition).repeated(),
            (Self::Create(after) | Self::Update { after, .. }, Some(present))
                if present.definition == after =>
            {
                Next::Done
            }
            (Self::Delete(_), None) => Next::Done,
            (Self::Update { before, after }, Some(present)) if before.definition == present.definition => {
                Self::Update { before: present, after }.repeated()
            }
            (Self::Delete(before), Some(present)) if before.definition == present.definition => {
                Self::Delete(present).repeated()
            }
            (Self::Create(_) | Self::Update { .. } | Self::Delete(_), _) => Next::GiveUp,
        }
    }
}

/// What to change so that the service has the wanted limits. Limits that are not wanted stay, unless the scope prunes.
/// Deletions come last, so that a limit under a new name is there before the old one goes.
pub(super) fn plan(
    wanted: &[Definition],
    present: impl IntoIterator<Item = Present>,
    scope: &Scope,
) -> Result<Plan, PlanError> {
    let is_in_scope = |key: &LimitKey| key.as_str().starts_with(&scope.prefix);
    if let Some(foreign) = wanted.iter().find(|definition| !is_in_scope(&definition.key)) {
        let (key, prefix) = (foreign.key.clone(), scope.prefix.clone());
        return Err(PlanError::OutsidePrefix { key, prefix });
    }
    if scope.prunes && wanted.is_empty() {
        return Err(PlanError::PrunesAll(scope.prefix.clone()));
    }
    let keyed = present.into_iter().map(|present| (present.definition.key.clone(), present));
    let mut present: BTreeMap<LimitKey, Present> = keyed.filter(|(key, _)| is_in_scope(key)).collect();
    let mut wanted: Vec<&Definition> = wanted.iter().collect();
    wanted.sort_by(|a, b| a.key.cmp(&b.key));
    let mut plan = Plan::default();
    for definition in wanted {
        match present.remove(&definition.key) {
            None => plan.changes.push(Change::Create(definition.clone())),
            Some(same) if same.definition == *definition => plan.unchanged += 1,
            Some(before) => {
                let (from, to) = (before.definition.kind.name(), definition.kind.name());
                if from != to {
                    return Err(PlanError::KindChange { key: definition.key.clone(), from, to });
                }
                plan.changes.push(Change::Update { before, after: definition.clone() });
            }
        }
    }
    if scope.prunes {
        plan.changes.extend(present.into_values().map(Change::Delete));
    }
    Ok(plan)
}
