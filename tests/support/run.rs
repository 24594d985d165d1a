//! Runs operations on a replica and reports each of them as text. The models compare one backend with a model, and
//! `integration/differential.rs` compares two backends.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{Definition, LeaseId, RenewId};
use ledger_limiter::protocol::{CompleteOutcome, ExtendOutcome, Renew, RenewOutcome, ReserveOutcome};
use ledger_limiter::registry::AdminError;

use crate::fixtures::*;
use crate::limits::Named;
use crate::operations::{ATTEMPTS, LEASES, Operation, lease_after};

/// Receives the result of each operation.
pub trait Observer {
    /// Receives an operation, its answer, and a line for each limit after it.
    fn observe(&mut self, operation: &Operation, answer: String, limits: Vec<String>);
    /// The time until the next step of a limit begins.
    fn until_step(&self, key: usize) -> Duration;
}

/// The names and ids for the numbers in the operations of one run.
struct Numbers {
    limits: &'static [Named],
    leases: Vec<LeaseId>,
    extends: Vec<ExtendId>,
    renewals: Vec<RenewId>,
    /// A list for each limit.
    replenishments: Vec<Vec<ReplenishId>>,
}

impl Numbers {
    fn new(limits: &'static [Named]) -> Self {
        Self {
            limits,
            leases: (0..LEASES).map(|_| lease()).collect(),
            extends: (0..ATTEMPTS).map(|_| extend_id()).collect(),
            renewals: (0..ATTEMPTS).map(|_| RenewId::generate()).collect(),
            replenishments: limits.iter().map(|_| (0..ATTEMPTS).map(|_| replenish_id()).collect()).collect(),
        }
    }

    fn lease(&self, number: u8) -> LeaseId {
        self.leases[usize::from(number)]
    }

    fn name(&self, key: usize) -> &'static str {
        self.limits[key].name
    }

    fn named(&self, amounts: &[(usize, u64)]) -> Vec<(&'static str, u64)> {
        amounts.iter().map(|(key, amount)| (self.name(*key), *amount)).collect()
    }
}

/// The definition of an [`Operation::Put`].
pub fn definition(limit: &Named, form: usize, capacity: u64) -> Definition {
    limit.forms[form % limit.forms.len()](capacity)
}

/// Carries the operations out, and reports the result of each.
pub async fn run<B: Backend>(
    backend: &B,
    limits: &'static [Named],
    operations: &[Operation],
    observer: &mut impl Observer,
) {
    let numbers = Numbers::new(limits);
    let mut replica = start(backend).await;
    for operation in operations {
        let answer = if let Some(time) = time_of(operation, observer) {
            backend.pass(time).await;
            "passed".to_owned()
        } else if matches!(operation, Operation::Restart) {
            replica = start(backend).await;
            "restarted".to_owned()
        } else {
            answer(&replica, &numbers, operation).await
        };
        observer.observe(operation, answer, limits_of(&replica).await);
    }
}

/// The time that an operation lets pass, if it does.
fn time_of(operation: &Operation, observer: &impl Observer) -> Option<Duration> {
    if let Operation::PassToStep { key, off_ms } = operation {
        let (until, off) = (observer.until_step(*key), Duration::from_millis(off_ms.unsigned_abs()));
        return Some(if *off_ms < 0 { until.saturating_sub(off) } else { until + off });
    }
    let Operation::Pass { ms } = operation else { return None };
    Some(Duration::from_millis(*ms))
}

async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

/// The answer of a replica to an operation, as text.
async fn answer<L: Ledger>(replica: &Replica<L>, numbers: &Numbers, operation: &Operation) -> String {
    match operation {
        Operation::Reserve { lease, wants } => {
            reservation(&replica.reserve(numbers.lease(*lease), &numbers.named(wants)).await)
        }
        Operation::Complete { lease, used } => {
            completion(&replica.complete(numbers.lease(*lease), &numbers.named(used)).await)
        }
        Operation::CompleteTogether { lease, used } => {
            let command = |lease| complete(numbers.lease(lease), &numbers.named(used));
            let commands = [command(*lease), command(lease_after(*lease))];
            let settled = replica.limiter().complete_batch(&commands).await;
            let answers =
                settled.iter().map(|settled| completion(settled.as_ref().expect("the ledger answers")));
            answers.collect::<Vec<_>>().join(" / ")
        }
        Operation::Extend { lease, extend: number, key, amount } => {
            let extend_id = numbers.extends[usize::from(*number)];
            let command = extend(numbers.lease(*lease), extend_id, numbers.name(*key), *amount);
            extension(replica.limiter().extend(&command).await.expect("the ledger answers"))
        }
        Operation::Renew { lease, renew } => {
            let renew_id = numbers.renewals[usize::from(*renew)];
            let command = Renew { lease: numbers.lease(*lease), renew_id };
            renewal(replica.limiter().renew(&command).await.expect("the ledger answers"))
        }
        Operation::Put { key, form, capacity } => {
            let definition = definition(&numbers.limits[*key], *form, *capacity);
            changed(replica.admin().put(&definition).await.map(|status| format!("{status:?}")))
        }
        Operation::Delete { key } => {
            let deleted = replica.admin().delete(&key_of(numbers, *key)).await;
            changed(deleted.map(|()| "deleted".to_owned()))
        }
        Operation::Replenish { key, refill } => {
            let replenishment = numbers.replenishments[*key][usize::from(*refill)];
            let refilled = replica.admin().replenish(&key_of(numbers, *key), replenishment).await;
            changed(refilled.map(|is_manual| if is_manual { "refilled" } else { "not manual" }.to_owned()))
        }
        Operation::ApplyDecreases => {
            changed(replica.admin().apply_decreases().await.map(|()| "applied".to_owned()))
        }
        Operation::Restart | Operation::Pass { .. } | Operation::PassToStep { .. } => {
            panic!("{operation:?} is not an operation of a replica")
        }
    }
}

fn key_of(numbers: &Numbers, key: usize) -> ledger_limiter::limit::LimitKey {
    self::key(numbers.name(key))
}

/// A line for each limit: key, status, capacity, then available, reserved, debt.
async fn limits_of<L: Ledger>(replica: &Replica<L>) -> Vec<String> {
    let mut lines = Vec::new();
    for usage in replica.admin().list().await.expect("the ledger answers") {
        let (state, key) = (&usage.state(), usage.key());
        let (capacity, status) = (state.definition.capacity.get(), state.status);
        let (available, reserved, debt) = (usage.available, usage.reserved, usage.debt);
        assert_eq!(available + reserved, u128::from(capacity), "{key}: the posted balance is the capacity");
        lines.push(format!("{key} {status:?} {capacity}: {available} {reserved} {debt}"));
    }
    lines
}

fn changed(answer: Result<String, AdminError>) -> String {
    match answer {
        Ok(answer) => answer,
        Err(AdminError::UnknownKey(_) | AdminError::Deleted(_)) => "unknown".to_owned(),
        Err(AdminError::KindChange(_)) => "another kind".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

fn reservation(reservation: &ReserveOutcome) -> String {
    match reservation {
        ReserveOutcome::Granted { .. } => "granted".to_owned(),
        ReserveOutcome::NoRoom { key, .. } => format!("no room: {key}"),
        ReserveOutcome::Decreasing { key, .. } => format!("decreasing: {key}"),
        ReserveOutcome::ExceedsCapacity { key } => format!("exceeds: {key}"),
        ReserveOutcome::UnknownKey { key } => format!("unknown: {key}"),
        ReserveOutcome::TooManyInstances { key } => format!("too many: {key}"),
        ReserveOutcome::LeaseConflict => "conflict".to_owned(),
        ReserveOutcome::LeaseSettled => "settled".to_owned(),
        ReserveOutcome::LeaseExpired => "expired".to_owned(),
    }
}

fn extension(extension: ExtendOutcome) -> String {
    match extension {
        ExtendOutcome::Answered(outcome) => reservation(&outcome),
        ExtendOutcome::NotInLease => "not in lease".to_owned(),
        ExtendOutcome::TooMany => "too many".to_owned(),
    }
}

fn renewal(renewal: RenewOutcome) -> String {
    match renewal {
        RenewOutcome::Answered(outcome) => reservation(&outcome),
        RenewOutcome::NoSlots => "no slots".to_owned(),
        RenewOutcome::TooMany => "too many".to_owned(),
    }
}

fn completion(completion: &CompleteOutcome) -> String {
    match completion {
        CompleteOutcome::Settled { overages } => {
            let overage: u128 = overages.iter().map(|overage| overage.amount).sum();
            format!("settled, {overage} over")
        }
        CompleteOutcome::NothingToDo => "nothing to do".to_owned(),
        CompleteOutcome::NotInLease { .. } => "not in lease".to_owned(),
    }
}
