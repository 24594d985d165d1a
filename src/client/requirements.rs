use super::{Amount, LeaseId, LimitKey, Requirement, Reserve};
use crate::limit::{AmountError, KeyError};
use crate::protocol::CommandError;

/// What one call wants of its limits: 1 to 32 of them, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// What every attempt sends, but for the lease id, which is each attempt's own.
    template: Reserve,
}

/// Why these are no requirements. The text begins with the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementsError {
    /// A name is no limit key.
    #[error("requirements[{index}].key {source}")]
    Key {
        /// Its place.
        index: usize,
        /// Why.
        source: KeyError,
    },
    /// A number is no amount.
    #[error("requirements[{index}].amount {source}")]
    Amount {
        /// Its place.
        index: usize,
        /// Why.
        source: AmountError,
    },
    /// There are none, too many, or one twice; or the job id is too long.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Requirements {
    /// Checks names and numbers.
    pub fn new<K: AsRef<str>>(wants: impl IntoIterator<Item = (K, u64)>) -> Result<Self, RequirementsError> {
        let check = |(index, (key, amount)): (usize, (K, u64))| {
            let key =
                LimitKey::parse(key.as_ref()).map_err(|source| RequirementsError::Key { index, source })?;
            let amount = Amount::new(amount).map_err(|source| RequirementsError::Amount { index, source })?;
            Ok(Requirement { key, amount })
        };
        let list: Result<Vec<Requirement>, RequirementsError> =
            wants.into_iter().enumerate().map(check).collect();
        let template = Reserve::new(LeaseId::generate(), String::new(), list?)?;
        Ok(Self { template })
    }

    /// So much of one limit.
    pub(super) fn of_one(key: &LimitKey, amount: Amount) -> Self {
        let requirement = Requirement { key: key.clone(), amount };
        Self { template: Reserve::of_one(LeaseId::generate(), requirement) }
    }

    /// Names the job that all this is for, in logs only; at most 128 bytes.
    pub fn with_job_id(self, job_id: impl Into<String>) -> Result<Self, RequirementsError> {
        let Reserve { lease, .. } = self.template;
        let template = Reserve::new(lease, job_id.into(), self.template.requirements().to_vec())?;
        Ok(Self { template })
    }

    /// What is wanted, sorted by key.
    pub fn list(&self) -> &[Requirement] {
        self.template.requirements()
    }

    /// A reserve of its own lease.
    pub fn attempt(&self) -> Reserve {
        self.under(LeaseId::generate())
    }

    /// A reserve of this lease.
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
    fn bad_requirements_are_told_by_their_place() {
        let error = |wants: &[(&str, u64)]| {
            Requirements::new(wants.iter().copied()).expect_err("it is refused").to_string()
        };
        assert_eq!(error(&[]), "requirements must be between 1 and 32 long, not 0");
        assert_eq!(error(&[("a", 1), (":b", 1)]).find("requirements[1].key must begin"), Some(0));
        assert_eq!(error(&[("a", 0)]), "requirements[0].amount must be at least 1");
        assert_eq!(error(&[("a", 1), ("a", 2)]), "requirements[1].key repeats a");
        let good = Requirements::new([("a", 1)]).expect("valid");
        assert!(good.with_job_id("j".repeat(129)).is_err());
    }

    #[test]
    fn every_attempt_has_a_lease_of_its_own() {
        let wants = Requirements::new([("b", 1), ("a", 2)]).expect("valid");
        let (first, second) = (wants.attempt(), wants.attempt());
        assert_ne!(first.lease, second.lease);
        assert_eq!(first.requirements(), second.requirements());
    }
}
