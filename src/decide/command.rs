use crate::limit::{Amount, LeaseId, LimitKey};

/// The most requirements of one reserve.
pub const REQUIREMENTS_MAX: usize = super::ids::LEGS_MAX;
/// The longest job id, in bytes.
pub const JOB_ID_BYTES_MAX: usize = 128;

/// What one call wants from one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The limit.
    pub key: LimitKey,
    /// How much of it.
    pub amount: Amount,
}

/// A reserve, valid as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// Names the attempt.
    pub lease: LeaseId,
    /// For logs only; empty when there is none.
    pub job_id: String,
    requirements: Vec<Requirement>,
}

/// What one call really used of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actual {
    /// The limit.
    pub key: LimitKey,
    /// How much of it, 0 to 2^63-1.
    pub amount: u64,
}

/// A complete, valid as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// The lease to settle.
    pub lease: LeaseId,
    /// For logs only; empty when there is none.
    pub job_id: String,
    actuals: Vec<Actual>,
}

/// A wish for more of a limit under a lease that is running, valid as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extend {
    /// The lease, which holds some of the limit already.
    pub lease: LeaseId,
    /// Names the attempt: repeating it repeats this id, and after a denial the next attempt takes a new one.
    pub extension: LeaseId,
    /// What is wanted on top of what the lease holds.
    pub requirement: Requirement,
}

impl Extend {
    /// The same wish as a reserve of its own would state it.
    pub fn as_reserve(&self) -> Reserve {
        Reserve::of_one(self.lease, self.requirement.clone())
    }
}

/// Why a command could not be built. The text begins with the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// None or too many.
    #[error("{field} must be between {min} and {max} long, not {count}", max = REQUIREMENTS_MAX)]
    Count {
        /// `requirements` or `actuals`.
        field: &'static str,
        /// The fewest there may be.
        min: usize,
        /// How many there were.
        count: usize,
    },
    /// A key stands twice.
    #[error("{field}[{index}].key repeats {key}")]
    KeyTwice {
        /// `requirements` or `actuals`.
        field: &'static str,
        /// The second place.
        index: usize,
        /// The key.
        key: LimitKey,
    },
    /// The actual amount is over 2^63-1.
    #[error("actuals[{index}].actual_amount must be at most {}", Amount::MAX.get())]
    ActualTooLarge {
        /// Its place.
        index: usize,
    },
    /// The job id is too long.
    #[error("job_id must be at most {JOB_ID_BYTES_MAX} bytes long, not {0}")]
    JobIdTooLong(usize),
}

impl Reserve {
    /// Checks the requirements and sorts them by key, because their order does not matter.
    pub fn new(
        lease: LeaseId,
        job_id: String,
        mut requirements: Vec<Requirement>,
    ) -> Result<Self, CommandError> {
        let field = "requirements";
        check_job_id(&job_id)?;
        if !(1..=REQUIREMENTS_MAX).contains(&requirements.len()) {
            return Err(CommandError::Count { field, min: 1, count: requirements.len() });
        }
        check_keys_differ(field, &requirements.iter().map(|requirement| &requirement.key))?;
        requirements.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { lease, job_id, requirements })
    }

    /// A reserve of one limit.
    pub fn of_one(lease: LeaseId, requirement: Requirement) -> Self {
        Self { lease, job_id: String::new(), requirements: vec![requirement] }
    }

    /// What is wanted, sorted by key; 1 to 32, no key twice.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl Complete {
    /// Checks the actual amounts.
    pub fn new(lease: LeaseId, job_id: String, actuals: Vec<Actual>) -> Result<Self, CommandError> {
        let field = "actuals";
        check_job_id(&job_id)?;
        if actuals.len() > REQUIREMENTS_MAX {
            return Err(CommandError::Count { field, min: 0, count: actuals.len() });
        }
        if let Some(index) = actuals.iter().position(|actual| actual.amount > Amount::MAX.get()) {
            return Err(CommandError::ActualTooLarge { index });
        }
        check_keys_differ(field, &actuals.iter().map(|actual| &actual.key))?;
        Ok(Self { lease, job_id, actuals })
    }

    /// Of a lease of which nobody said what was used.
    pub fn of_untold(reserve: &Reserve) -> Self {
        Self::of_used(reserve, |_| None)
    }

    /// Of a lease of which nothing was used.
    pub fn of_unused(reserve: &Reserve) -> Self {
        Self::of_used(reserve, |_| Some(0))
    }

    /// Of a lease of which `used` tells, for each limit, how much was used, if anybody said so. No more than 2^63-1 of it
    /// counts.
    pub fn of_used(reserve: &Reserve, used: impl Fn(&LimitKey) -> Option<u64>) -> Self {
        let actual = |Requirement { key, .. }: &Requirement| {
            used(key).map(|amount| Actual { key: key.clone(), amount: amount.min(Amount::MAX.get()) })
        };
        let actuals = reserve.requirements.iter().filter_map(actual).collect();
        Self { lease: reserve.lease, job_id: reserve.job_id.clone(), actuals }
    }

    /// What was used, in the caller's order; up to 32, no key twice.
    pub fn actuals(&self) -> &[Actual] {
        &self.actuals
    }
}

fn check_job_id(job_id: &str) -> Result<(), CommandError> {
    if job_id.len() > JOB_ID_BYTES_MAX { Err(CommandError::JobIdTooLong(job_id.len())) } else { Ok(()) }
}

/// At most 32 keys: comparing each with those before it needs no table.
fn check_keys_differ<'a>(
    field: &'static str,
    keys: &(impl Iterator<Item = &'a LimitKey> + Clone),
) -> Result<(), CommandError> {
    for (index, key) in keys.clone().enumerate() {
        if keys.clone().take(index).any(|earlier| earlier == key) {
            return Err(CommandError::KeyTwice { field, index, key: key.clone() });
        }
    }
    Ok(())
}
