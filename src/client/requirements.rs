//! What a call needs of its limits.

#[cfg(feature = "permits")]
use super::LimitKey;
use super::{Amount, CommandError, ErrorKind, IntoLimitKey, LeaseId, Requirement, Reserve, UsageError};
use crate::limit::{AmountError, KeyError};
use crate::protocol::Wait;

/// What one call needs: an amount of each of 1 to 32 limits.
///
/// They are plain data and reserve nothing. The same requirements can be used for any number of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// The reserve command of every attempt. Each attempt replaces the lease id.
    template: Reserve,
}

/// Why requirements are invalid. The text begins with the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequirementsError {
    /// A text is not a limit key.
    #[error("requirements[{index}].key {source}")]
    Key {
        /// The index of the requirement.
        index: usize,
        /// What is wrong with the key.
        source: KeyError,
    },
    /// An amount is out of range.
    #[error("requirements[{index}].amount {source}")]
    Amount {
        /// The index of the requirement.
        index: usize,
        /// What is wrong with the amount.
        source: AmountError,
    },
    /// There are none or too many, a key is given twice, or the job id is too long.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The estimate of a call to a model is too large.
    #[error(transparent)]
    Usage(#[from] UsageError),
}

impl RequirementsError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

impl Requirements {
    /// Requirements of these keys and amounts. A key may be given once; an amount is 1 to 2^63-1 units of its limit.
    pub fn new<K: IntoLimitKey>(
        wants: impl IntoIterator<Item = (K, u64)>,
    ) -> Result<Self, RequirementsError> {
        let check = |(index, (key, amount)): (usize, (K, u64))| {
            let key = key.into_limit_key().map_err(|source| RequirementsError::Key { index, source })?;
            let amount = Amount::new(amount).map_err(|source| RequirementsError::Amount { index, source })?;
            Ok(Requirement { key, amount })
        };
        let list: Result<Vec<Requirement>, RequirementsError> =
            wants.into_iter().enumerate().map(check).collect();
        let template = Reserve::new(LeaseId::generate(), String::new(), list?)?;
        Ok(Self { template })
    }

    /// An amount of one limit.
    #[cfg(feature = "permits")]
    pub(super) fn of_one(key: &LimitKey, amount: Amount) -> Self {
        let requirement = Requirement { key: key.clone(), amount };
        Self { template: Reserve::of_one(LeaseId::generate(), requirement) }
    }

    /// Names the job that needs this, for logs only. The name has at most 128 bytes.
    pub fn with_job_id(self, job_id: impl Into<String>) -> Result<Self, RequirementsError> {
        let Reserve { lease, .. } = self.template;
        let wait = self.template.wait();
        let template =
            Reserve::new(lease, job_id.into(), self.template.requirements().to_vec())?.with_wait(wait);
        Ok(Self { template })
    }

    /// Sets the priority among those that wait at the service: 0 to 9, 5 by default. 9 is served first.
    ///
    /// # Errors
    ///
    /// The priority is above 9.
    pub fn with_priority(self, priority: u64) -> Result<Self, RequirementsError> {
        let template = self.template.with_wait(Wait::new(0, priority)?);
        Ok(Self { template })
    }

    /// The requirements, sorted by key.
    pub fn list(&self) -> &[Requirement] {
        self.template.requirements()
    }

    /// The reserve command of one attempt, with a fresh lease id.
    pub fn attempt(&self) -> Reserve {
        self.under(LeaseId::generate())
    }

    /// The reserve command with this lease id.
    pub(super) fn under(&self, lease: LeaseId) -> Reserve {
        let mut reserve = self.template.clone();
        reserve.lease = lease;
        reserve
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field_and_its_index() {
        let error = |wants: &[(&str, u64)]| {
            let error = Requirements::new(wants.iter().copied()).expect_err("it is refused");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            error.to_string()
        };
        assert_eq!(error(&[]), "requirements must be between 1 and 32 long, not 0");
        assert_eq!(error(&[("a", 1), (":b", 1)]).find("requirements[1].key must begin"), Some(0));
        assert_eq!(error(&[("a", 0)]), "requirements[0].amount must be at least 1");
        assert_eq!(error(&[("a", 1), ("a", 2)]), "requirements[1].key repeats a");
        let good = Requirements::new([("a", 1)]).expect("valid");
        assert!(good.with_job_id("j".repeat(129)).is_err());
    }

    #[test]
    fn each_attempt_has_a_fresh_lease_id() {
        let wants = Requirements::new([("b", 1), ("a", 2)]).expect("valid");
        let (first, second) = (wants.attempt(), wants.attempt());
        assert_ne!(first.lease, second.lease);
        assert_eq!(first.requirements(), second.requirements());
    }
}
