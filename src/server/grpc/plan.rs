//! From the descriptors of a request to the requirements of a reserve.

use super::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use super::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use super::rules::{Override, Rule, Rules, UnknownOverride};
use crate::limit::{Amount, LimitKey};
use crate::protocol::{REQUIREMENTS_MAX, Requirement};

/// What a request of a gateway is charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One for each descriptor, in their order.
    pub(crate) items: Vec<Item>,
    /// The charges, no key twice.
    pub(crate) charges: Vec<Charge>,
}

/// What a rule makes of a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// No rule matches: it is allowed.
    NoRule,
    /// A rule matches, but a value is empty or too long for a key. Clients choose values, so this must not let them pass.
    NoKey {
        /// Whether it is denied.
        enforce: bool,
    },
    /// It is charged to a limit.
    Limit {
        /// The limit.
        key: LimitKey,
        /// The units of the limit in one hit.
        factor: u64,
    },
}

/// What one limit is charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) requirement: Requirement,
    /// Whether the limit can deny.
    pub(super) enforce: bool,
    pub(super) manner: Manner,
}

/// How a limit is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The hits are taken, if there is room.
    Take,
    /// The hits are taken, whatever is free. The excess is debt.
    Force,
    /// Nothing is taken: only whether anything is free. The amount is 1.
    Peek,
    /// The hits are given back, up to the capacity.
    GiveBack,
}

/// Why a request cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// It has none.
    #[error("descriptors must hold at least one descriptor")]
    NoDescriptors,
    /// They name too many limits.
    #[error("descriptors name {0} limits; one request can charge {REQUIREMENTS_MAX}")]
    TooManyLimits(usize),
    /// It asks for a limit that its rule does not have.
    #[error("descriptors[{index}].limit: {error}")]
    UnknownOverride {
        index: usize,
        #[source]
        error: UnknownOverride,
    },
    /// It asks for a limit without a unit.
    #[error("descriptors[{index}].limit.unit must be a unit of time")]
    NoUnit { index: usize },
    /// It gives nothing back.
    #[error("descriptors[{index}].hits_addend must be at least 1 with is_negative_hits")]
    GivesNothing { index: usize },
    /// Some descriptors are charged, and others give back.
    #[error("descriptors[{index}].is_negative_hits must be the same for all descriptors; send two requests")]
    Mixed { index: usize },
}

impl Plan {
    /// Plans the charges of a request. `hits` are those of a descriptor that names no number itself.
    pub(crate) fn new(
        rules: &Rules,
        domain: &str,
        descriptors: &[RateLimitDescriptor],
        hits: u64,
    ) -> Result<Self, PlanError> {
        if descriptors.is_empty() {
            return Err(PlanError::NoDescriptors);
        }
        let mut plan = Self { items: Vec::with_capacity(descriptors.len()), charges: Vec::new() };
        for (index, descriptor) in descriptors.iter().enumerate() {
            let entries: Vec<(&str, &str)> =
                descriptor.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
            let item = match rules.find(domain, &entries) {
                None => Item::NoRule,
                Some(rule) => plan.apply(rule, index, descriptor, &entries, hits)?,
            };
            plan.items.push(item);
        }
        match plan.charges.len() {
            0..=REQUIREMENTS_MAX => Ok(plan),
            limits => Err(PlanError::TooManyLimits(limits)),
        }
    }

    /// The limits, in the order of the charges.
    pub(super) fn keys(&self) -> impl Iterator<Item = &LimitKey> {
        self.charges.iter().map(|charge| &charge.requirement.key)
    }

    /// Whether a descriptor is denied, whatever the limits say.
    pub(super) fn is_denied(&self) -> bool {
        self.items.contains(&Item::NoKey { enforce: true })
    }

    /// Whether its descriptors give back.
    pub(super) fn gives_back(&self) -> bool {
        self.charges.iter().any(|charge| charge.manner == Manner::GiveBack)
    }

    fn apply(
        &mut self,
        rule: &Rule,
        index: usize,
        descriptor: &RateLimitDescriptor,
        entries: &[(&str, &str)],
        hits: u64,
    ) -> Result<Item, PlanError> {
        let hits = descriptor.hits_addend.unwrap_or(hits);
        let factor = rule.factor.get();
        // More than any limit has. Clients may choose the number, so a large one is denied rather than refused.
        let units = hits.saturating_mul(factor).min(Amount::MAX.get());
        let amount = Amount::new(units);
        let manner = match (descriptor.is_negative_hits, &amount) {
            (true, Err(_)) => return Err(PlanError::GivesNothing { index }),
            (true, Ok(_)) => Manner::GiveBack,
            (false, Err(_)) => Manner::Peek,
            (false, Ok(_)) if rule.force => Manner::Force,
            (false, Ok(_)) => Manner::Take,
        };
        let wanted = descriptor.limit.as_ref().map(|limit| wanted(limit, index)).transpose()?;
        let key = rule.key(entries, wanted).map_err(|error| PlanError::UnknownOverride { index, error })?;
        let Some(key) = key else { return Ok(Item::NoKey { enforce: rule.enforce }) };
        let requirement = Requirement { key: key.clone(), amount: amount.unwrap_or(Amount::ONE) };
        let gives_back = |charge: &Charge| charge.manner == Manner::GiveBack;
        if self.charges.iter().any(|charge| gives_back(charge) != (manner == Manner::GiveBack)) {
            return Err(PlanError::Mixed { index });
        }
        self.charge(Charge { requirement, enforce: rule.enforce, manner });
        Ok(Item::Limit { key, factor })
    }

    /// Adds a charge. Descriptors of the same limit are charged together.
    fn charge(&mut self, new: Charge) {
        let same_key = |charge: &&mut Charge| charge.requirement.key == new.requirement.key;
        match self.charges.iter_mut().find(same_key) {
            Some(charge) => charge.add(&new),
            None => self.charges.push(new),
        }
    }
}

impl Charge {
    /// Adds what another descriptor charges the same limit. A charge that can be denied can be so as a whole.
    fn add(&mut self, other: &Self) {
        let (is_peek, adds_peek) = (self.manner == Manner::Peek, other.manner == Manner::Peek);
        let sum = self.requirement.amount.get().saturating_add(other.requirement.amount.get());
        match (is_peek, adds_peek) {
            (_, true) => {}
            (true, false) => {
                (self.requirement.amount, self.manner) = (other.requirement.amount, other.manner);
            }
            (false, false) => {
                self.requirement.amount = Amount::new(sum).unwrap_or(Amount::MAX);
                if other.manner == Manner::Take {
                    self.manner = Manner::Take;
                }
            }
        }
        self.enforce |= other.enforce;
    }
}

/// The limit that a descriptor asks for.
fn wanted(limit: &RateLimitOverride, index: usize) -> Result<Override, PlanError> {
    let unit = limit.unit().as_str_name();
    Override::new(limit.requests_per_unit, unit).ok_or(PlanError::NoUnit { index })
}

#[cfg(test)]
mod tests {
    use super::super::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
    use super::*;

    const RULES: &str = r#"
[[rule]]
domain = "edge"
entries = [{ key = "path" }]
limit = "path:{path}"
factor = 2

[[rule]]
domain = "edge"
entries = [{ key = "user" }]
limit = "user:{user}"
enforce = false
overrides = { "5/hour" = "user:{user}:five" }

[[rule]]
domain = "edge"
entries = [{ key = "bytes" }]
limit = "path:{bytes}"
force = true
"#;

    fn descriptor(key: &str, value: &str) -> RateLimitDescriptor {
        let entry = Entry { key: key.to_owned(), value: value.to_owned() };
        RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }
    }

    fn plan(descriptors: &[RateLimitDescriptor], hits: u64) -> Result<Plan, PlanError> {
        Plan::new(&Rules::parse(RULES).expect("valid rules"), "edge", descriptors, hits)
    }

    /// Key, amount and whether it can deny, of each charge.
    fn charges(plan: &Plan) -> Vec<(&str, u64, bool)> {
        let charge = |charge: &Charge| (charge.requirement.amount.get(), charge.enforce);
        let keys = plan.charges.iter().map(|it| it.requirement.key.as_str());
        keys.zip(plan.charges.iter().map(charge))
            .map(|(key, (amount, enforce))| (key, amount, enforce))
            .collect()
    }

    #[test]
    fn descriptors_of_one_limit_are_charged_together() {
        let own_hits = RateLimitDescriptor { hits_addend: Some(5), ..descriptor("path", "/a") };
        let descriptors =
            [descriptor("path", "/a"), descriptor("none", "x"), own_hits, descriptor("user", "ann")];
        let plan = plan(&descriptors, 3).expect("a plan");
        assert_eq!(charges(&plan), [("path:/a", 2 * (3 + 5), true), ("user:ann", 3, false)]);
        assert_eq!(plan.items[1], Item::NoRule);
        assert_eq!(plan.items[2], plan.items[0]);
    }

    #[test]
    fn a_client_cannot_choose_a_value_or_a_number_that_charges_nothing() {
        let empty = plan(&[descriptor("path", "")], 1).expect("a plan");
        assert_eq!(empty.items, [Item::NoKey { enforce: true }]);
        assert!(empty.is_denied());
        let shadow = plan(&[descriptor("user", &"x".repeat(300))], 1).expect("a plan");
        assert!(!shadow.is_denied(), "a rule that does not enforce never denies");
        let huge = plan(&[descriptor("path", "/a"), descriptor("path", "/a")], u64::MAX).expect("a plan");
        assert_eq!(charges(&huge), [("path:/a", Amount::MAX.get(), true)]);
    }

    #[test]
    fn the_descriptors_of_one_limit_are_charged_in_one_manner() {
        let with = |key: &str, hits: u64, is_negative_hits: bool| RateLimitDescriptor {
            hits_addend: Some(hits),
            is_negative_hits,
            ..descriptor(key, "/a")
        };
        let (take, force, peek) = (with("path", 2, false), with("bytes", 3, false), with("path", 0, false));
        let (back, more_back) = (with("path", 1, true), with("bytes", 1, true));
        for (descriptors, amount, manner) in [
            (vec![&take], 4, Manner::Take),
            (vec![&force], 3, Manner::Force),
            (vec![&force, &force], 6, Manner::Force),
            (vec![&force, &take], 7, Manner::Take),
            (vec![&take, &force], 7, Manner::Take),
            (vec![&peek], 1, Manner::Peek),
            (vec![&peek, &peek], 1, Manner::Peek),
            (vec![&peek, &force], 3, Manner::Force),
            (vec![&take, &peek], 4, Manner::Take),
            (vec![&back, &more_back], 3, Manner::GiveBack),
        ] {
            let descriptors: Vec<_> = descriptors.into_iter().cloned().collect();
            let plan = plan(&descriptors, 1).expect("a plan");
            let charge = &plan.charges[0];
            assert_eq!((charge.requirement.amount.get(), charge.manner), (amount, manner), "{descriptors:?}");
            assert_eq!(plan.gives_back(), manner == Manner::GiveBack);
        }
        for mixed in [[&back, &take], [&peek, &back]] {
            let error = plan(&mixed.map(Clone::clone), 1).expect_err("it is refused");
            assert_eq!(error, PlanError::Mixed { index: 1 });
        }
    }

    #[test]
    fn an_override_replaces_the_limit() {
        let limit = RateLimitOverride { requests_per_unit: 5, unit: 3 };
        let descriptor = RateLimitDescriptor { limit: Some(limit), ..descriptor("user", "ann") };
        assert_eq!(charges(&plan(&[descriptor], 1).expect("a plan")), [("user:ann:five", 1, false)]);
    }

    #[test]
    fn an_error_names_the_descriptor() {
        let of = |change: fn(&mut RateLimitDescriptor)| {
            let mut changed = descriptor("user", "ann");
            change(&mut changed);
            plan(&[descriptor("path", "/a"), changed], 1).expect_err("it is refused").to_string()
        };
        let mixed = "descriptors[1].is_negative_hits must be the same for all descriptors";
        assert!(of(|it| it.is_negative_hits = true).starts_with(mixed));
        let nothing = of(|it| (it.hits_addend, it.is_negative_hits) = (Some(0), true));
        assert_eq!(nothing, "descriptors[1].hits_addend must be at least 1 with is_negative_hits");
        let unit = |unit| RateLimitOverride { requests_per_unit: 6, unit };
        assert_eq!(
            of(|it| it.limit = Some(RateLimitOverride { requests_per_unit: 6, unit: 3 })),
            "descriptors[1].limit: no rule allows the override 6/hour; add it to the rule's overrides"
        );
        assert_eq!(unit(0).unit().as_str_name(), "UNKNOWN");
        assert!(
            of(|it| it.limit = Some(RateLimitOverride::default())).starts_with("descriptors[1].limit.unit")
        );
        assert_eq!(plan(&[], 1), Err(PlanError::NoDescriptors));
        let many: Vec<_> = (0..33).map(|number| descriptor("user", &number.to_string())).collect();
        assert_eq!(plan(&many, 1), Err(PlanError::TooManyLimits(33)));
        assert!(plan(&many[1..], 1).is_ok());
    }
}
