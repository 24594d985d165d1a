//! Definitions of limits.

use super::{
    AlertThresholds, AllotmentPeriod, Amount, Capacity, DefinitionError, INSTANCES_MAX_DEFAULT, KeyTemplate,
    Kind, LimitKey, OnUnavailable, Queueing, Texts, UnitMicros, WaitMax,
};

/// A limit as an operator defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The limit's name.
    pub key: LimitKey,
    /// How reserved capacity becomes available again.
    pub kind: Kind,
    /// The most that may be reserved at once, in units of the limit; 0 pauses the limit.
    pub capacity: Capacity,
    /// The unit and the description, for people.
    pub texts: Texts,
    /// What happens to overage that finds no room.
    pub overage: Overage,
    /// For a template, the most instances it may make; `None` for a limit.
    pub instances_max: Option<Amount>,
    /// For a bucket, the longest that a reservation ahead may wait; the default for other kinds, which lend nothing.
    pub wait_max: WaitMax,
    /// What happens to callers while the ledger does not answer.
    pub on_unavailable: OnUnavailable,
    /// Whether the limit denies. Without it, the limit is in shadow mode: it grants every reserve, what finds no room is debt,
    /// and the answer says that it would deny.
    pub enforce: bool,
    /// How callers wait for the limit at the server.
    pub queueing: Queueing,
    /// How long a replica serves callers from one allotment; `None` if every reserve asks the ledger.
    pub allotment: Option<AllotmentPeriod>,
    /// What one unit is worth, in millionths of what the unit names; `None` if a unit is one of them.
    pub unit_micros: Option<UnitMicros>,
    /// The thresholds of its usage whose crossing is an event.
    pub alerts: AlertThresholds,
}

/// What happens to overage, usage above the reservation, that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overage {
    /// It is posted to the limit's debt account.
    #[default]
    Debt,
    /// It is only counted and logged.
    Deny,
}

impl Definition {
    /// Checks the texts; the other fields are valid by their types. A key with placeholders defines a template, with the
    /// default `max_instances`.
    pub fn new(
        key: LimitKey,
        kind: Kind,
        capacity: impl Into<Capacity>,
        unit: &str,
        description: &str,
        overage: Overage,
    ) -> Result<Self, DefinitionError> {
        let texts = Texts::new(unit, description)?;
        let default = || Amount::new(INSTANCES_MAX_DEFAULT).ok();
        let instances_max = KeyTemplate::of(&key).and_then(|_| default());
        Ok(Self {
            key,
            kind,
            capacity: capacity.into(),
            texts,
            overage,
            instances_max,
            wait_max: WaitMax::default(),
            on_unavailable: OnUnavailable::default(),
            enforce: true,
            queueing: Queueing::default(),
            allotment: None,
            unit_micros: None,
            alerts: AlertThresholds::default(),
        })
    }

    /// Sets the most instances that a template may make; 0 keeps the default.
    pub fn with_instances_max(self, instances_max: u64) -> Result<Self, DefinitionError> {
        match (instances_max, self.instances_max) {
            (0, _) => Ok(self),
            (_, None) => Err(DefinitionError::NoTemplate),
            (instances_max, Some(_)) => {
                let amount = Amount::new(instances_max);
                let instances_max =
                    amount.map_err(|error| DefinitionError::Amount { field: "max_instances", error })?;
                Ok(Self { instances_max: Some(instances_max), ..self })
            }
        }
    }

    /// Sets the longest that a reservation ahead on a bucket may wait, in milliseconds. 0 is an error: it would mean no
    /// wait in a request, and the default in the other fields of a definition.
    pub fn with_max_wait_ms(self, ms: u64) -> Result<Self, DefinitionError> {
        match self.kind {
            Kind::TokenBucket(_) => Ok(Self { wait_max: WaitMax::new(ms)?, ..self }),
            kind @ (Kind::Rolling(_)
            | Kind::Concurrency(_)
            | Kind::FixedWindow(_)
            | Kind::SlidingWindow(_)
            | Kind::Calendar(_)) => Err(DefinitionError::Unused { field: "max_wait_ms", kind: kind.name() }),
        }
    }

    /// Lets replicas serve callers from allotments, each for this time. A lease id that is reserved at two replicas may be
    /// granted at both; each is counted.
    ///
    /// # Errors
    ///
    /// [`DefinitionError::NoAllotments`] for kinds other than rolling and concurrency.
    pub fn with_allotment(self, period: AllotmentPeriod) -> Result<Self, DefinitionError> {
        AllotmentPeriod::check_kind(self.kind)?;
        Ok(Self { allotment: Some(period), ..self })
    }

    /// Says what one unit of the limit is worth, in millionths of what its unit names.
    ///
    /// # Errors
    ///
    /// [`DefinitionError::NoUnit`] if the definition names no unit.
    pub fn with_unit_micros(self, unit_micros: UnitMicros) -> Result<Self, DefinitionError> {
        UnitMicros::check_unit(self.texts.unit())?;
        Ok(Self { unit_micros: Some(unit_micros), ..self })
    }

    /// The posted balance of its account: the capacity of a limit, or the instances that a template may make.
    pub(crate) fn posted_balance(&self) -> u64 {
        self.instances_max.map_or(self.capacity.get(), Amount::get)
    }

    /// The definition that this template gives to a key that matches it.
    pub(crate) fn for_instance(&self, key: LimitKey) -> Self {
        Self { key, instances_max: None, ..self.clone() }
    }
}
