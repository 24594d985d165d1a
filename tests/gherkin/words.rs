//! The words of the features: parses their texts and tables, and writes outcomes in words.

use std::str::FromStr;

use cucumber::Parameter;
use cucumber::gherkin::Step;
use ledger_limiter::limit::{Overage, Status};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

/// Amounts of limits, as in `1 of gpt-4o:rpm, 1800 of gpt-4o:tpm and 1 of gpt-4o:concurrency`.
#[derive(Debug, Clone, Default, Parameter)]
#[param(name = "amounts", regex = r"\d+ of [^\s,]+(?:(?:, | and )\d+ of [^\s,]+)*")]
pub struct Amounts(Vec<(String, u64)>);

impl Amounts {
    pub fn of_limits(&self) -> Vec<(&str, u64)> {
        self.0.iter().map(|(limit, amount)| (limit.as_str(), *amount)).collect()
    }
}

impl FromStr for Amounts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let (amount, limit) =
                part.split_once(" of ").ok_or(format!("{part:?} is not `AMOUNT of LIMIT`"))?;
            let amount = amount.parse().map_err(|error| format!("{part:?}: {error}"))?;
            Ok((limit.to_owned(), amount))
        };
        text.split(", ").flat_map(|part| part.split(" and ")).map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl FromIterator<(String, u64)> for Amounts {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(amounts: I) -> Self {
        Self(amounts.into_iter().collect())
    }
}

/// The rows of the table of a step; the table must have exactly these columns.
pub fn table<const N: usize>(step: &Step, columns: [&str; N]) -> Vec<[String; N]> {
    let rows = &step.table.as_ref().expect("the step has a table").rows;
    let (header, rows) = rows.split_first().expect("the table has a header");
    assert_eq!(header, &columns, "the columns of the table");
    assert!(!rows.is_empty(), "the table has rows");
    rows.iter().map(|row| row.clone().try_into().expect("as many cells as columns")).collect()
}

pub fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Parses a time such as `60 s`.
pub fn seconds(text: &str) -> u64 {
    number(text.strip_suffix(" s").unwrap_or_else(|| panic!("{text:?} is not `N s`")))
}

pub fn overage(text: &str) -> Overage {
    match text {
        "debt" => Overage::Debt,
        "deny" => Overage::Deny,
        other => panic!("{other:?} is not an overage policy"),
    }
}

pub fn of_status(status: Status) -> String {
    match status {
        Status::Active => "active".to_owned(),
        Status::Decreasing { to } => format!("decreasing to {}", to.get()),
        Status::Deleted => "deleted".to_owned(),
        Status::Retired => "retired".to_owned(),
    }
}

pub fn of_reservation(reservation: &ReserveOutcome) -> String {
    match reservation {
        ReserveOutcome::Granted { .. } => "granted".to_owned(),
        ReserveOutcome::NoRoom { key, .. } => format!("denied: {key} has no room"),
        ReserveOutcome::Decreasing { key, .. } => format!("denied: {key} is decreasing"),
        ReserveOutcome::ExceedsCapacity { key } => {
            format!("denied: the amount exceeds the capacity of {key}")
        }
        ReserveOutcome::UnknownKey { key } => format!("denied: there is no limit {key}"),
        ReserveOutcome::TooManyInstances { key } => {
            format!("denied: the template of {key} has its maximum of instances")
        }
        ReserveOutcome::LeaseConflict => "refused: the lease was granted other amounts".to_owned(),
        ReserveOutcome::LeaseSettled => "refused: the lease is settled".to_owned(),
        ReserveOutcome::LeaseExpired => "refused: a part of the lease has expired".to_owned(),
    }
}

pub fn of_completion(completion: &CompleteOutcome) -> String {
    match completion {
        CompleteOutcome::Settled { overages } => {
            let mut words = "settles the lease".to_owned();
            for overage in overages {
                let became = match overage.overage {
                    Overage::Debt => "become debt",
                    Overage::Deny => "are only counted",
                };
                words += &format!(", and {} of {} {became}", overage.amount, overage.key);
            }
            words
        }
        CompleteOutcome::NothingToDo => "changes nothing".to_owned(),
        CompleteOutcome::NotInLease { index } => {
            format!("is refused: the lease does not hold the limit of amount {}", index + 1)
        }
    }
}

/// The hint of a denial that waiting can end.
pub fn retry_after_ms(reservation: &ReserveOutcome) -> Option<u64> {
    match reservation {
        ReserveOutcome::NoRoom { retry_after_ms, .. } | ReserveOutcome::Decreasing { retry_after_ms, .. } => {
            Some(*retry_after_ms)
        }
        ReserveOutcome::Granted { .. }
        | ReserveOutcome::ExceedsCapacity { .. }
        | ReserveOutcome::UnknownKey { .. }
        | ReserveOutcome::TooManyInstances { .. }
        | ReserveOutcome::LeaseConflict
        | ReserveOutcome::LeaseSettled
        | ReserveOutcome::LeaseExpired => None,
    }
}
